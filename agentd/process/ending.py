"""Ends single processes that are known to be a run's: SIGTERM, then SIGKILL, each by a descriptor of it. Blocks."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agentd.process.identity import HAS_PIDFD, ProcessIdentity
from agentd.process.pidfds import wait_ended
from agentd.process.proc import run_id_of

GRACE: Final = 5.0
"""Seconds from SIGTERM to SIGKILL."""


@dataclass(frozen=True, slots=True)
class EndedProcess:
    """A process that was ended."""

    process: ProcessIdentity
    killed: bool
    """Whether that took SIGKILL."""


def end_processes(run_id: str, processes: Sequence[ProcessIdentity], grace: float = GRACE) -> list[EndedProcess]:
    """End processes that are still what they were and carry the mark of a run; none where there are no pidfds.

    Raises
    ------
    OSError
        If there are no descriptors left to hold them by.
    """
    held: dict[int, ProcessIdentity] = {}
    try:
        for process in processes if HAS_PIDFD else ():
            with contextlib.suppress(ProcessLookupError):
                descriptor = os.pidfd_open(process.pid)
                held[descriptor] = process
                # Only now that the descriptor holds the process is it sure that it is the one that was found.
                if not process.surely_alive() or run_id_of(process.pid) != run_id:
                    del held[descriptor]
                    os.close(descriptor)
        asked = _signal(held, signal.SIGTERM)
        left = wait_ended(asked, grace)
        killed = _signal({each: asked[each] for each in left}, signal.SIGKILL)
        wait_ended(killed, 1.0)
        return [EndedProcess(process, descriptor in killed) for descriptor, process in asked.items()]
    finally:
        for descriptor in held:
            os.close(descriptor)


def _signal(held: dict[int, ProcessIdentity], number: signal.Signals) -> dict[int, ProcessIdentity]:
    """Signal processes; gives those that it reached."""
    reached = {}
    for descriptor, process in held.items():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(descriptor, number)
            reached[descriptor] = process
    return reached
