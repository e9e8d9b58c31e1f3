"""A view that redraws itself in place."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from agentd.cli.agentctl.client import Api, UnreachableError
from agentd.cli.terminal import cut, display_of
from agentd.jcard.quoting import printable

REDRAW_AFTER = 1.0
"""Seconds between two looks."""

# xterm's control sequences, source: ctlseqs.
_ENTER = "\x1b[?1049h\x1b[?25l"
"""The alternate screen, without a cursor: what was on the terminal comes back afterwards."""
_LEAVE = "\x1b[?25h\x1b[?1049l"
_HOME = "\x1b[H"
_END_OF_LINE = "\x1b[K"
_END_OF_SCREEN = "\x1b[J"


def watch(view: Callable[[], list[str]], api: Api) -> None:
    """Show the view until C-c; while the daemon is away, say so and go on."""
    signal.signal(signal.SIGTERM, _terminate)
    last: list[str] = []
    sys.stdout.write(_ENTER)
    try:
        while True:
            try:
                last = view()
            except UnreachableError as error:
                last = [f"agentd is not reachable on {printable(str(api.path))}: {printable(str(error))}"]
            _draw(last)
            time.sleep(REDRAW_AFTER)  # noqa: TID251 (a person waits, and the API tells of no events)
    except KeyboardInterrupt:
        pass
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()
    # What was last seen stays on the terminal.
    print("\n".join(last))


def _draw(lines: list[str]) -> None:
    display = display_of(sys.stdout, os.environ)
    shown = lines
    if len(lines) > display.rows:
        shown = [*lines[: display.rows - 1], f"… {len(lines) - display.rows + 1} more lines"]
    # One write, each line cleared behind its text: nothing is ever blank in between, so nothing flickers.
    body = f"{_END_OF_LINE}\r\n".join(cut(line, display.columns) for line in shown)
    sys.stdout.write(f"{_HOME}{body}{_END_OF_LINE}{_END_OF_SCREEN}")
    sys.stdout.flush()


def _terminate(signum: int, _frame: FrameType | None) -> None:
    # As an exception, so that the terminal is put right first.
    raise SystemExit(128 + signum)
