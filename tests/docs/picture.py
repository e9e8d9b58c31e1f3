"""Draws the pictures of the documentation, in colours: docs/status.svg and docs/top.svg.

``python -m tests.docs.picture``
"""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

from tests.docs.newcomer import ROOT, Newcomer, newcomer
from tests.docs.scenes import README, SCENES, TOP
from tests.support.waiting import wait_for

PICTURE = ROOT / "docs/status.svg"
TOP_PICTURE = ROOT / "docs/top.svg"


def picture_lines(picture: Path) -> list[str]:
    """Give the lines that a picture shows, without blank ones and the title."""
    rows: dict[str, str] = {}
    for y, text in re.findall(r'<text [^>]*\by="([^"]+)"[^>]*>([^<]*)</text>', picture.read_text()):
        rows[y] = f"{rows.get(y, '')} {html.unescape(text)}".replace("\xa0", " ")
    lines = [rows[y].strip() for y in sorted(rows, key=float)]
    return [line for line in lines if line and not re.fullmatch(r"agentctl \w+", line)]


def shown_by_top(who: Newcomer) -> str:
    """Give what ``agentctl top`` shows on a terminal, with its colours."""
    server = ["tmux", "-f", "/dev/null", "-S", str(who.runtime / "looking.sock")]

    def tmux(*arguments: str) -> str:
        done = subprocess.run(
            [*server, *arguments], env=who.environment(), capture_output=True, text=True, encoding="utf-8", check=True
        )
        return done.stdout

    tmux("new-session", "-d", "-x", "110", "-y", "20", "env -u NO_COLOR COLORTERM=truecolor agentctl top")
    try:
        for part in ("last answer: ", "\n> delete the old builds"):
            wait_for(lambda part=part: part in tmux("capture-pane", "-p"), 20, what=f"{part!r} is shown")  # type: ignore[misc]
        return who.named(tmux("capture-pane", "-e", "-p", "-N"))
    finally:
        tmux("kill-server")


def _draw(title: str, shown: str, picture: Path) -> None:
    draw = [sys.executable, str(ROOT / "scripts/terminal_svg.py"), title]
    picture.write_text(subprocess.run(draw, input=shown, text=True, capture_output=True, check=True).stdout)


def main() -> None:
    """Write them."""
    with newcomer() as someone:
        SCENES[README, "3. Poll"](someone)
        someone.type("env -u NO_COLOR script -qefc 'stty cols 160; agentctl status' ~/typescript")
        lines = (someone.home / "typescript").read_text().replace("\r\n", "\n").splitlines()
        shown = someone.named("\n".join(line for line in lines if not line.startswith("Script ")))
    _draw("agentctl status", shown, PICTURE)
    with newcomer() as someone:
        SCENES[TOP, "Look who needs you"](someone)
        shown = shown_by_top(someone)
    _draw("agentctl top", shown, TOP_PICTURE)


if __name__ == "__main__":
    main()
