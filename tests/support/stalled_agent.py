"""A program of one's own that does not go on: it takes lines, and tells of each as a turn.

``model`` waits for a model that never answers, ``hung`` for a tool that does nothing, ``build SECONDS`` for one that
says nothing either and uses a little CPU so long; any other line ends well. C-c interrupts the turn. It writes what it
took into the file that it is given, with its pid.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys

BUILD = "import time; end = time.time() + float({!r})\nwhile time.time() < end: sum(range(40000)); time.sleep(0.05)"


def tell(event: str, **body: object) -> None:
    connection = http.client.HTTPConnection("agentd")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(os.environ["AGENTD_HOOK"])
    connection.request("POST", f"/v1/hook/{event}", json.dumps(body))
    connection.getresponse().read()


def work(word: str, rest: str) -> None:
    if word == "model":
        signal.pause()
    elif word in {"hung", "build"}:
        tell("tool_started", tool="1", name="Bash", text=word)
        command = ["sleep", "600"] if word == "hung" else [sys.executable, "-I", "-S", "-c", BUILD.format(rest)]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as tool:
            tool.wait()
        tell("tool_completed", tool="1")


tell("ready")
for number, line in enumerate(iter(lambda: input("> "), "exit")):
    with open(sys.argv[1], "a") as file:  # noqa: PTH123 (pathlib takes 10 ms to import)
        file.write(f"{os.getpid()} {line}\n")
    tell("started", turn=f"{os.getpid()}.{number}", prompt=line)
    word, _, rest = line.partition(" ")
    try:
        work(word, rest)
        tell("ended", final_text=f"done: {line}")
    except KeyboardInterrupt:
        tell("ended", outcome="interrupted")
