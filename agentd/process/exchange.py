"""Gives a program its input and takes what it prints, within bounds of time and memory."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Callable
from typing import IO, Final

_CHUNK: Final = 256 * 1024
"""Bytes read at once; a pipe holds 64 KiB by default."""
_LONGEST_COMPLAINT: Final = 64 * 1024
"""Bytes of the error output that are kept."""


class TooMuchError(Exception):
    """A program printed more than it may."""


def exchange(
    process: subprocess.Popen[bytes],
    stdin: bytes,
    take: Callable[[bytes], object],
    most: int,
    limit: float,
    *,
    stays_open: bool = False,
) -> bytes:
    """Serve a program until it has closed its output and ended.

    Parameters
    ----------
    process
        With pipes for all three streams.
    take
        Called with each piece of its output.
    most
        Bytes that it may print.
    limit
        Seconds that it may take.
    stays_open
        Whether its input is not closed once it is sent.

    Returns
    -------
    The beginning of its error output.

    Raises
    ------
    TooMuchError
        If it prints more than `most`.
    subprocess.TimeoutExpired
        If it takes longer than `limit`.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    end = time.monotonic() + limit
    complaint = bytearray()
    left, unsent = most, memoryview(stdin)
    with selectors.DefaultSelector() as selector:
        _watch(selector, process.stdout, selectors.EVENT_READ)
        _watch(selector, process.stderr, selectors.EVENT_READ)
        if stdin:
            _watch(selector, process.stdin, selectors.EVENT_WRITE)
        else:
            process.stdin.close()
        while selector.get_map():
            for key, _ in selector.select(_left_until(end, process, limit)):
                if key.fileobj is process.stdin:
                    unsent = unsent[_send(process.stdin, unsent) :]
                    data = bytes(unsent[:1])
                else:
                    data = os.read(key.fd, _CHUNK)
                if not data:
                    selector.unregister(key.fileobj)
                    if key.fileobj is process.stdin and stays_open:
                        continue
                    key.fileobj.close()  # type: ignore[union-attr]  # the three streams are files
                elif key.fileobj is process.stderr:
                    complaint += data[: _LONGEST_COMPLAINT - len(complaint)]
                elif key.fileobj is process.stdout:
                    left -= len(data)
                    if left < 0:
                        raise TooMuchError
                    take(data)
    process.wait(_left_until(end, process, limit))
    return bytes(complaint)


def _watch(selector: selectors.BaseSelector, stream: IO[bytes], events: int) -> None:
    os.set_blocking(stream.fileno(), False)
    selector.register(stream, events)


def _send(stream: IO[bytes], unsent: memoryview) -> int:
    try:
        return os.write(stream.fileno(), unsent[:_CHUNK])
    except BlockingIOError:
        return 0
    except BrokenPipeError:
        # It reads no more: what it says of that is for its status to tell.
        return len(unsent)


def _left_until(end: float, process: subprocess.Popen[bytes], limit: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise subprocess.TimeoutExpired(process.args, limit)
    return left
