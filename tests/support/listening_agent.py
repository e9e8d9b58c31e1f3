"""A program of one's own that is talked to: reads messages from its terminal, and tells of its turns.

A message is answered with "I hear: MESSAGE", in two pieces. ``slow`` at its beginning waits for the file ``go``,
``slowly`` after the first piece, when it makes the file ``said``; ``forever`` never ends, ``die`` exits in it,
``deaf`` has no turn at all, and ``run COMMAND`` asks for permission first; with ``--all`` every message does. What it
cannot post it posts again until agentd is there. Each message that it reads is appended to the file ``heard``, as JSON.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import sys
import termios
import time
import tty
from itertools import count
from pathlib import Path


def tell(event: str, **body: object) -> dict[str, str]:
    while True:
        connection = http.client.HTTPConnection("agentd")
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(os.environ["AGENTD_HOOK"])
            connection.request("POST", f"/v1/hook/{event}", json.dumps(body))
            said = connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
            continue
        answer: dict[str, str] = json.loads(said) if said else {}
        return answer


def messages() -> object:
    """Read what is typed: each ends with a carriage return that stands outside the brackets of a paste.

    Before this program sets up its terminal, that is a line feed.
    """
    typed = b""
    while data := os.read(0, 65536):
        typed += data
        while found := re.match(rb"((?:\x1b\[200~.*?\x1b\[201~|[^\r\n\x1b])*)[\r\n]", typed, re.DOTALL):
            typed = typed[found.end() :]
            yield re.sub(rb"\x1b\[20[01]~", b"", found[1]).replace(b"\r", b"\n").decode()
            os.write(1, b"\r\n> ")


def decided(message: str) -> str:
    """Ask for what a message says is to be run, and say what was decided."""
    if not message.startswith("run ") and "--all" not in sys.argv:
        return message
    line = message.removeprefix("run ")
    said = tell("permission_asked", name="Bash", text=line, arguments={"command": line})
    return f"{said.get('decision')}: {line}"


def main() -> None:
    if "--late" in sys.argv:
        while not Path("ready").exists():
            time.sleep(0.02)
    # What was typed before is kept: agentd waits 1 s for a program that says nothing, and this one may take longer.
    tty.setraw(0, termios.TCSADRAIN)
    turns = count(1)
    os.write(1, b"\x1b[?2004h> ")
    tell("ready")
    for message in messages():  # type: ignore[attr-defined]
        with Path("heard").open("a", encoding="utf-8") as heard:
            heard.write(json.dumps(message) + "\n")
        if message.startswith("deaf"):
            continue
        turn = f"{os.getpid()}-{next(turns)}"
        tell("started", turn=turn, prompt=message)
        if message.startswith("slowly"):
            tell("text_delta", text="I hear: ")
            Path("said").touch()
        while message.startswith("slow") and not Path("go").exists():
            time.sleep(0.02)
        while message.startswith("forever"):
            time.sleep(1)
        if message.startswith("die"):
            sys.exit(3)
        if not message.startswith("slowly"):
            tell("text_delta", text="I hear: ")
        heard_as = decided(message)
        tell("text_delta", text=heard_as)
        tell("usage", input_tokens=len(message), output_tokens=2)
        tell("ended", final_text=f"I hear: {heard_as}")


if __name__ == "__main__":
    main()
