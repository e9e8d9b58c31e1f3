"""A stand-in for a coding agent: it takes messages in turns, as one does, answers each by its last word.

`agentctl smoke` runs it, by its text: the agents' user may not be let into the folder that this file is in. So it needs
nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import sys
import termios
import time
from collections.abc import Iterator
from itertools import chain, count


def tell(event: str, **body: object) -> None:
    """Tell agentd of a turn; again until it is there."""
    while not _told(event, json.dumps(body)):
        time.sleep(0.05)  # noqa: TID251 (nothing tells when agentd is there)


def _told(event: str, body: str) -> bool:
    connection = http.client.HTTPConnection("agentd")
    connection.sock = socket.socket(socket.AF_UNIX)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.sock.connect(os.environ["AGENTD_HOOK"])
        connection.request("POST", f"/v1/hook/{event}", body)
        connection.getresponse().read()
        return True
    return False


def messages() -> Iterator[str]:
    """Give what is typed: a message ends with a carriage return outside the brackets of a paste."""
    typed = b""
    while data := os.read(0, 65536):
        typed += data
        while found := re.match(rb"((?:\x1b\[200~.*?\x1b\[201~|[^\r\x1b])*)\r", typed, re.DOTALL):
            typed = typed[found.end() :]
            yield re.sub(rb"\x1b\[20[01]~", b"", found[1]).decode(errors="replace")


def main() -> None:
    """Answer messages until C-c."""
    attributes = termios.tcgetattr(0)
    attributes[0] &= ~termios.ICRNL
    attributes[3] &= ~(termios.ICANON | termios.ECHO)
    termios.tcsetattr(0, termios.TCSANOW, attributes)
    os.write(1, b"\x1b[?2004h> ")
    tell("ready")
    numbers = count(1)
    with contextlib.suppress(KeyboardInterrupt):
        for message in chain(sys.argv[1:], messages()):
            if words := message.split():
                tell("started", turn=f"{os.getpid()}-{next(numbers)}", prompt=message)
                os.write(1, f"{words[-1]}\r\n> ".encode())
                tell("ended", final_text=words[-1])


if __name__ == "__main__":
    main()
