"""A program of one's own that hits its usage limit: it takes lines, and tells of each as a turn.

``limit SECONDS`` ends at a limit that resets so long after, ``limit`` at one of which it does not say when; any other
line ends well, after ``quota PERCENT`` has told how much of one is used. It writes what it took into the file that it
is given.
"""

import http.client
import json
import os
import socket
import sys
import time


def tell(event: str, **body: object) -> None:
    connection = http.client.HTTPConnection("agentd")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(os.environ["AGENTD_HOOK"])
    connection.request("POST", f"/v1/hook/{event}", json.dumps(body))
    connection.getresponse().read()


for number, line in enumerate(iter(lambda: input("> "), "exit")):
    with open(sys.argv[1], "a") as file:  # noqa: PTH123 (pathlib takes 10 ms to import)
        file.write(line + "\n")
    tell("started", turn=f"{os.getpid()}.{number}", prompt=line)
    word, _, seconds = line.partition(" ")
    if word == "limit":
        resets = {"resets_at": time.time() + float(seconds)} if seconds else {}
        tell("ended", outcome="failed", failure="usage_limit", error="You've hit your session limit", **resets)
    else:
        if word == "quota":
            tell("quota", window="weekly", used_percent=float(seconds))
        tell("ended", final_text=f"done: {line}")
