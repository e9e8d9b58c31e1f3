"""The standard streams: closed by whoever started us, or read by somebody who has enough (``| head``)."""

from __future__ import annotations

import os
import sys
from errno import ENOSPC
from io import TextIOWrapper

TYPE_CHECKING = False  # typing costs 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

_FAILED = 1
_BROKEN_PIPE = 141
"""128 and SIGPIPE: importing signal costs 1 ms."""


def with_streams(program: str, run: Callable[[], int]) -> int:
    """Run a program, whatever its standard streams are; give its exit status.

    Raises
    ------
    SystemExit
        If it does.
    """
    _prepare()
    try:
        try:
            return run()
        finally:
            _flush_errors()
            sys.stdout.flush()
    except BrokenPipeError:
        # `agentctl list | head -1` ends without a word.
        _write_no_more(sys.stdout)
        return _BROKEN_PIPE
    except OSError as error:
        if error.errno != ENOSPC:
            raise
        _write_no_more(sys.stdout)
        print(f"{program}: cannot write the output: {error.strerror}; make room for it", file=sys.stderr)
        return _FAILED


def _prepare() -> None:
    for descriptor, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        # Closed by the caller (`>&-`): else the first socket would get its number.
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123, SIM115 (pathlib costs 9 ms; it stays open)
            if stream.fileno() == descriptor:
                os.set_inheritable(descriptor, True)
            setattr(sys, name, stream)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flush_errors() -> None:
    """Write what is left of a log; that nobody reads it any more makes no failure of a program that did its work."""
    try:
        sys.stderr.flush()
    except OSError:
        _write_no_more(sys.stderr)


def _write_no_more(stream: TextIO) -> None:
    """Keep the interpreter's own last flush from failing as the one before it did: its exit status would be 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
