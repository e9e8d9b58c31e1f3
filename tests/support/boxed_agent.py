"""A scripted agent with an input box like Claude Code's, installed as the real program.

It takes Enter while there is no ``asleep`` in its working directory, and asks the question in ``ask`` while there is
one. As in Claude Code, Enter completes a word with @ at the end and breaks the line after a backslash, space at the end
is removed, /menu opens a menu, and the second C-c in a row ends it.
"""

from __future__ import annotations

import os
import re
import select
import sys
import tty
from pathlib import Path

BOX = "\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT}\xa0"
MENU = "/menu"
QUESTION = "Proceed?  1. Yes"


def install(path: Path) -> None:
    """Put it there as a program; isolated and without site-packages it starts in a quarter of the time."""
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S -X utf8 {__file__} "$@"\n')
    path.chmod(0o755)


def drawn(taken: list[str], text: str) -> bytes:
    """What was taken, and the box, with the cursor at its end."""
    lines = [f"taken <{each}>" for each in taken]
    box = BOX + text[-40:].replace("\n", "\r\n  ")
    if taken[-1:] == [MENU]:
        box = "Select\r\n\r\n  1. one\r\n  2. two\r\n\r\n  Enter to choose"
    if Path("ask").exists():
        box = Path("ask").read_text().replace("\n", "\r\n") or QUESTION
    return "\r\n".join(["\x1b[2J\x1b[Hgo", *lines, box]).encode()


def main() -> None:
    """Take input for ever."""
    tty.setraw(0)
    os.write(1, b"\x1b[?2004h")
    text, taken, last, shown = "", list[str](), "", b""
    while True:
        if (screen := drawn(taken, text)) != shown:
            os.write(1, screen)
            shown = screen
        if not select.select([0], [], [], 0.02)[0]:
            continue
        data = os.read(0, 65536).decode()
        if (last + data).endswith("\x03\x03"):
            return
        last = data
        if data == "\x03":
            continue
        if data != "\r":
            text += re.sub(r"\x1b\[20[01]~", "", data).replace("\r", "|")
        elif text.endswith("\\"):
            text = text[:-1] + "\n"
        elif re.search(r"@[^\s|]*\Z", text):
            text += ".txt "
        elif not Path("asleep").exists() and not Path("ask").exists():
            taken.append(text.rstrip(" "))
            text = ""


if __name__ == "__main__":
    main()
