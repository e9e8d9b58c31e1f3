"""A program of one's own that tells what its turns cost: it takes lines, and tells of each as a turn.

``cost DOLLARS`` costs so much; after ``work DOLLARS`` its turn goes on until it is interrupted, having cost so much;
``late DOLLARS`` tells the cost after the turn's end; any other line costs nothing. It writes what it took into the file
that it is given.
"""

import contextlib
import http.client
import json
import os
import signal
import socket
import sys
import time


def tell(event: str, **body: object) -> None:
    connection = http.client.HTTPConnection("agentd")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(os.environ["AGENTD_HOOK"])
    connection.request("POST", f"/v1/hook/{event}", json.dumps(body))
    connection.getresponse().read()


signal.signal(signal.SIGINT, signal.default_int_handler)
for number, line in enumerate(iter(lambda: input("> "), "exit")):
    with open(sys.argv[1], "a") as file:  # noqa: PTH123 (pathlib takes 10 ms to import)
        file.write(line + "\n")
    outcome = "completed"
    with contextlib.suppress(KeyboardInterrupt):
        outcome = "interrupted"
        tell("started", turn=f"{os.getpid()}.{number}", prompt=line)
        word, _, dollars = line.partition(" ")
        if word in ("cost", "work"):
            tell("usage", cost_usd=float(dollars))
        if word == "work":
            time.sleep(600)
        outcome = "completed"
    tell("ended", outcome=outcome, final_text=f"done: {line}")
    if word == "late":
        time.sleep(0.05)
        tell("usage", cost_usd=float(dollars))
