#!/usr/bin/env python3
"""A stand-in for a coding agent: it talks in turns, as one does, and needs no key.

It reads messages from its terminal, the first ones from its arguments, and tells agentd of its turns by the socket in
AGENTD_HOOK. It answers with what it was told, word by word. These words in a message have it do more: USE-TOOL,
ASK-PERMISSION, ASK-QUESTION, WRITE-FILE:NAME, STUB-SLEEP:SECONDS, STUB-UNTIL:FILE (until it is there), STUB-FAIL:KIND
(usage_limit, auth_error or other) and STUB-EXIT:CODE. C-c interrupts a turn.
"""

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
from pathlib import Path

NUMBERS = count(1)


def tell(event: str, **body: object) -> dict[str, str]:
    """Tell agentd; again until it is there. What asks is answered once somebody has decided."""
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
        finally:
            connection.close()
        answer: dict[str, str] = json.loads(said) if said else {}
        return answer


def show(text: str) -> None:
    """Write on the terminal, which is in raw mode."""
    os.write(1, text.replace("\n", "\r\n").encode())


def messages() -> Iterator[str]:
    """Give what is typed: a message ends with a carriage return outside the brackets of a paste."""
    typed = b""
    while data := os.read(0, 65536):
        typed += data.replace(b"\x03", b"")
        while found := re.match(rb"((?:\x1b\[200~.*?\x1b\[201~|[^\r\x1b])*)\r", typed, re.DOTALL):
            typed = typed[found.end() :]
            message = re.sub(rb"\x1b\[20[01]~", b"", found[1]).replace(b"\r", b"\n").decode(errors="replace")
            if message.strip():
                yield message


def number_behind(word: str, message: str) -> float | None:
    """Give the number that stands behind a word."""
    found = re.search(rf"{word}:([0-9.]+)", message)
    return None if found is None else float(found[1])


def asked(message: str) -> str:
    """Do what the words in a message ask for; say what came of it."""
    said = f"You said: {message}"
    if "USE-TOOL" in message or "ASK-PERMISSION" in message:
        tool = f"tool-{os.getpid()}-{next(NUMBERS)}"
        tell("tool_started", tool=tool, name="Bash", text="ls")
        allowed = True
        if "ASK-PERMISSION" in message:
            answer = tell("permission_asked", request=f"ask-{tool}", name="Bash", text="ls", tool=tool)
            allowed = answer.get("decision") == "allow"
            said += " (allowed)" if allowed else f" (denied: {answer.get('text') or 'no reason'})"
        tell("tool_completed", tool=tool, ok=allowed)
    if "ASK-QUESTION" in message:
        question = f"question-{os.getpid()}-{next(NUMBERS)}"
        answer = tell("question_asked", request=question, text="Which colour?", choices=["Blue", "Red"])
        said += f" ({answer.get('text') or 'no answer'})"
    if (seconds := number_behind("STUB-SLEEP", message)) is not None:
        time.sleep(seconds)
    if until := re.search(r"STUB-UNTIL:(\S+)", message):
        while not Path(until[1]).exists():
            time.sleep(0.02)
    if (code := number_behind("STUB-EXIT", message)) is not None:
        sys.exit(int(code))
    if found := re.search(r"WRITE-FILE:([\w.-]+)", message):
        Path(found[1]).write_text(f"{said}\n")
    return said


def turn(message: str) -> None:
    """Answer one message."""
    show(f"{message}\n")
    try:
        tell("started", turn=f"{os.getpid()}-{next(NUMBERS)}", prompt=message)
        answer = asked(message)
        if failed := re.search("STUB-FAIL:([a-z_]+)", message):
            tell("ended", outcome="failed", failure=failed[1], error=f"failed as told: {failed[1]}")
            return
        for piece in re.findall(r"\s*\S+\s*?", answer):
            tell("text_delta", text=piece)
            show(piece)
            time.sleep(0.01)
        tell("usage", input_tokens=len(message), output_tokens=len(answer))
        tell("ended", final_text=answer)
    except KeyboardInterrupt:
        tell("ended", outcome="interrupted")
        show("(interrupted)")


def read_every_key() -> None:
    """Have the terminal give what is typed as it is, but for C-c."""
    attributes = termios.tcgetattr(0)
    attributes[0] &= ~termios.ICRNL
    attributes[3] &= ~(termios.ICANON | termios.ECHO)
    termios.tcsetattr(0, termios.TCSANOW, attributes)
    show("\x1b[?2004h")


def main() -> None:
    """Answer messages until C-c outside of a turn."""
    read_every_key()
    show("> ")
    tell("ready")
    with contextlib.suppress(KeyboardInterrupt):
        for message in chain(sys.argv[1:], messages()):
            turn(message)
            show("\n> ")


if __name__ == "__main__":
    main()
