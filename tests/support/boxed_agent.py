#!/usr/bin/env python3
"""A scripted agent with an input box like Claude Code's; links to it stand in for the real program.

It takes Enter while there is no ``asleep`` in its working directory, and asks a question while there is ``ask``.
"""

from __future__ import annotations

import os
import re
import select
import tty
from pathlib import Path

BOX = "\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT}\xa0"
QUESTION = "Proceed?  1. Yes"


def draw(taken: list[str], text: str) -> None:
    """Draw what was taken, and the box, with the cursor at its end."""
    lines = [f"taken <{each}>" for each in taken]
    box = QUESTION if Path("ask").exists() else BOX + text[-40:]
    os.write(1, "\r\n".join(["\x1b[2J\x1b[Hgo", *lines, box]).encode())


def main() -> None:
    """Take input for ever."""
    tty.setraw(0)
    os.write(1, b"\x1b[?2004h")
    text, taken = "", list[str]()
    while True:
        draw(taken, text)
        if not select.select([0], [], [], 0.02)[0]:
            continue
        data = os.read(0, 65536).decode()
        if data != "\r":
            text += re.sub(r"\x1b\[20[01]~", "", data).replace("\r", "|")
        elif not Path("asleep").exists() and not Path("ask").exists():
            taken.append(text)
            text = ""


if __name__ == "__main__":
    main()
