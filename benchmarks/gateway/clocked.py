"""An agent that answers at once, with the moments at which it got a message and at which it answers."""

import http.client
import json
import os
import socket
import termios
import time

PIECES = "PIECES:"
"""Before a number in a message: in how many pieces the answer comes."""


def tell(event: str, **body: object) -> None:
    """Tell agentd."""
    connection = http.client.HTTPConnection("agentd")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(os.environ["AGENTD_HOOK"])
    connection.request("POST", f"/v1/hook/{event}", json.dumps(body))
    connection.getresponse().read()
    connection.close()


def main() -> None:
    """Answer until the terminal is gone."""
    attributes = termios.tcgetattr(0)
    attributes[0] &= ~termios.ICRNL
    attributes[3] &= ~(termios.ICANON | termios.ECHO)
    termios.tcsetattr(0, termios.TCSANOW, attributes)
    os.write(1, b"\x1b[?2004h")
    tell("ready")
    typed = b""
    turn = 0
    while data := os.read(0, 65536):
        typed += data
        while b"\r" in typed:
            message, _, typed = typed.partition(b"\r")
            got = time.time()
            text = message.replace(b"\x1b[200~", b"").replace(b"\x1b[201~", b"").decode()
            if not text.strip():
                continue
            turn += 1
            tell("started", turn=f"{os.getpid()}-{turn}", prompt=text)
            for _ in range(int(text.rpartition(PIECES)[2]) if PIECES in text else 1):
                tell("text_delta", text=f"{got:.6f} {time.time():.6f}\n")
            tell("ended", final_text="done")


if __name__ == "__main__":
    main()
