"""Processes that are held by descriptors (pidfds), so that no later process can be taken for them. Blocks."""

from __future__ import annotations

import select
import time
from collections.abc import Iterable


def wait_ended(descriptors: Iterable[int], limit: float) -> set[int]:
    """Wait until the processes of these pidfds have ended, for so many seconds at most; gives those that have not."""
    poll, left, until = select.poll(), set(descriptors), time.monotonic() + limit
    for descriptor in left:
        poll.register(descriptor, select.POLLIN)
    while left and (rest := until - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(rest * 1000):
            poll.unregister(descriptor)
            left.discard(descriptor)
    return left
