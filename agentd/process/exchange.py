"""Gives a program its input and takes what it prints, within bounds of time and memory."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import time
from collections.abc import Callable, Generator
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
    end = time.monotonic() + limit
    complaint, left = bytearray(), most
    with contextlib.closing(_pieces(process, stdin, end, limit, stays_open=stays_open)) as pieces:
        for stream, data in pieces:
            if stream is process.stderr:
                complaint += data[: _LONGEST_COMPLAINT - len(complaint)]
                continue
            left -= len(data)
            if left < 0:
                raise TooMuchError
            take(data)
    process.wait(_left_until(end, process, limit))
    return bytes(complaint)


def _pieces(
    process: subprocess.Popen[bytes], stdin: bytes, end: float, limit: float, *, stays_open: bool
) -> Generator[tuple[IO[bytes], bytes]]:
    """Send the input, and give what comes from the two outputs until both are closed."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    unsent = memoryview(stdin)
    with selectors.DefaultSelector() as selector:
        _watch(selector, process.stdout, selectors.EVENT_READ)
        _watch(selector, process.stderr, selectors.EVENT_READ)
        if stdin:
            _watch(selector, process.stdin, selectors.EVENT_WRITE)
        else:
            process.stdin.close()
        while selector.get_map():
            for key, _ in selector.select(_left_until(end, process, limit)):
                stream: IO[bytes] = key.data
                if stream is process.stdin:
                    unsent = unsent[_send(stream, unsent) :]
                    done = not unsent
                else:
                    data = os.read(key.fd, _CHUNK)
                    done = not data
                    if data:
                        yield stream, data
                if done:
                    selector.unregister(stream)
                    if stream is not process.stdin or not stays_open:
                        stream.close()


def _watch(selector: selectors.BaseSelector, stream: IO[bytes], events: int) -> None:
    os.set_blocking(stream.fileno(), False)
    selector.register(stream, events, stream)


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
