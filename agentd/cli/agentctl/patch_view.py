"""Show a patch on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agentd.text.quoting import printable
from agentd.text.terminal import BOLD, CYAN, GREEN, RED, Display

_STYLES = {"+": GREEN, "-": RED, "@": CYAN}


def patch_lines(lines: Iterable[str], display: Display) -> Iterator[str]:
    """Colour a patch's lines, and escape control characters except tabs: even colours could hide a line."""
    for line in lines:
        heading = line.startswith(("diff ", "index ", "--- ", "+++ "))
        yield display.paint("\t".join(map(printable, line.split("\t"))), BOLD if heading else _STYLES.get(line[:1], ""))
