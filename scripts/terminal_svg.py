"""Draws a terminal's content (with colours, on standard input) as an SVG picture on standard output."""

from __future__ import annotations

import re
import sys

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text


def main() -> None:
    """Draw."""
    title = sys.argv[1]
    lines = sys.stdin.read().rstrip("\n").split("\n")
    text = Text.from_ansi("\n".join(lines))
    width = max(len(line.plain.rstrip()) for line in text.split("\n"))
    console = Console(record=True, width=width + 1, file=sys.stderr, color_system="truecolor", force_terminal=True)
    console.print(text, no_wrap=True, crop=False)
    svg = console.export_svg(title=title, theme=MONOKAI)
    # Fonts from elsewhere would make looking at a picture a request over the network.
    svg = re.sub(r"<!-- .*? -->\s*", "", svg)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    sys.stdout.write(svg.replace("Fira Code, monospace", "monospace"))


if __name__ == "__main__":
    main()
