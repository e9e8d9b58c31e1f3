"""Redraw a view in place."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable
from types import FrameType

from agentd.cli.agentctl.client import Api, UnreachableError
from agentd.cli.agentctl.command import Invocation, Status, UsageError
from agentd.text.quoting import printable
from agentd.text.terminal import cut, display_of

REDRAW_AFTER = 1.0
"""Seconds between two readings."""

# xterm's control sequences, source: ctlseqs.
_ENTER = "\x1b[?1049h\x1b[?25l"
"""The alternate screen, without a cursor: the former content of the terminal comes back afterwards."""
_LEAVE = "\x1b[?25h\x1b[?1049l"
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
_HOME = "\x1b[H"
_END_OF_LINE = "\x1b[K"
_END_OF_SCREEN = "\x1b[J"


def watched(invocation: Invocation, view: Callable[[], list[str]]) -> Status:
    """Show the view until C-c, on a terminal.

    Raises
    ------
    UsageError
        If it is to be read by a program.
    """
    if invocation.as_json:
        raise UsageError("--watch never ends, so it takes no --json; read the status again instead")
    if not invocation.display.table:
        raise UsageError("--watch needs a terminal; read the status again instead")
    _watch(view, invocation.api, "agentd-fleet" if invocation.fleet else "agentd")
    return Status.DONE


def _watch(view: Callable[[], list[str]], api: Api, program: str) -> None:
    """Show it; report a daemon that is away, and go on."""
    signal.signal(signal.SIGTERM, _terminate)
    last: list[str] = []
    resized, told = os.pipe()
    signal.signal(signal.SIGWINCH, lambda *_: os.write(told, b"x"))
    sys.stdout.write(_ENTER)
    try:
        while True:
            try:
                last = view()
            except UnreachableError as error:
                last = [f"{program} is not reachable on {printable(str(api.path))}: {printable(str(error))}"]
            _draw(last)
            if select.select([resized], [], [], REDRAW_AFTER)[0]:
                os.read(resized, 4096)
    except KeyboardInterrupt:
        pass
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()
    # The last view stays on the terminal.
    print("\n".join(last))


def _draw(lines: list[str]) -> None:
    display = display_of(sys.stdout, os.environ)
    shown = lines
    if len(lines) > display.rows:
        shown = [*lines[: display.rows - 1], f"… {len(lines) - display.rows + 1} more lines"]
    # One write, and each line is cleared only behind its text, so nothing flickers. Terminals that know mode 2026 also
    # show it at once; others ignore that.
    body = f"{_END_OF_LINE}\r\n".join(cut(line, display.columns) for line in shown)
    sys.stdout.write(f"{_BEGIN}{_HOME}{body}{_END_OF_LINE}{_END_OF_SCREEN}{_END}")
    sys.stdout.flush()


def _terminate(signum: int, _frame: FrameType | None) -> None:
    # As an exception, so that the terminal is restored first.
    raise SystemExit(128 + signum)
