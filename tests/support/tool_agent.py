"""A program of one's own whose turns leave tools running.

``tool``, ``orphan`` and ``server`` run the rest of the line: as a harness runs a tool, as a process that has lost its
parents, and as a harness runs an MCP server. Its pid is written into ``pids``.
"""

import http.client
import json
import os
import socket
import subprocess
from pathlib import Path

KEPT: list[subprocess.Popen[bytes]] = []


def tell(event: str, **body: object) -> None:
    connection = http.client.HTTPConnection("agentd")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(os.environ["AGENTD_HOOK"])
    connection.request("POST", f"/v1/hook/{event}", json.dumps(body))
    connection.getresponse().read()


def run(how: str, command: str) -> None:
    words = command.split()
    if how == "orphan":
        words = ["sh", "-c", f"setsid {command} >/dev/null 2>&1 & echo $! >pids"]
    piped = how == "server"
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 (as short as it gets)
        started = subprocess.Popen(
            words,
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else nowhere,
            start_new_session=not piped,
        )
    KEPT.append(started)
    if how == "orphan":
        started.wait()
    else:
        Path("pids").write_text(str(started.pid))


for number, line in enumerate(iter(lambda: input("> "), "exit")):
    tell("started", turn=f"{os.getpid()}.{number}", prompt=line)
    how, _, command = line.partition(" ")
    if command:
        run(how, command)
    tell("ended", final_text=f"did {line}")
    print(f"did {line}")
