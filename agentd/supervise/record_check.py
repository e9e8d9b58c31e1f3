"""Whether a record may be believed: the agent user can write another in its place, and agentd may be root.

What is refused here could not have been written by agentd: a name that leads to other folders, a time that is none, a
state that lacks what its transitions need.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from agentd.launch.script_path import RUN_ID
from agentd.model.spec import AGENT_NAME
from agentd.model.states import AgentState
from agentd.supervise.record import Record, RecordError
from agentd.text.quoting import quote

_AGENT = re.compile(AGENT_NAME)
_RUN = re.compile(RUN_ID)
_LARGEST = 10**11
"""Of all numbers, above and below 0; as seconds since the epoch the year 5138."""


def is_agent_name(text: str) -> bool:
    """Whether an agent can have this name."""
    return _AGENT.fullmatch(text) is not None


def believable(record: Record) -> Record:
    """Give a record back if agentd could have written it.

    Raises
    ------
    RecordError
        If not.
    """
    run = record.run
    if not is_agent_name(record.agent):
        raise RecordError(f"expected the name of an agent, found {quote(record.agent)}")
    if run is not None and not _RUN.fullmatch(run.id):
        raise RecordError(f"expected the id of a run, found {quote(run.id)}")
    if not all(-_LARGEST <= number <= _LARGEST for number in _numbers(asdict(record).values())):
        raise RecordError(f"expected numbers up to {_LARGEST}, found another")
    if any(wall is not None and wall < 0 for wall in (record.began_wall, None if run is None else run.started_wall)):
        raise RecordError("expected times after 1970, found one before")
    if not _whole(record):
        raise RecordError(f"expected all that belongs to an agent that is {record.state}, found less")
    return record


def _numbers(values: Iterable[object]) -> Iterator[float]:
    for value in values:
        match value:
            case int() | float():
                yield value
            case dict():
                yield from _numbers(value.values())
            case list() | tuple():
                yield from _numbers(value)
            case _:
                pass


def _whole(record: Record) -> bool:
    """Whether what its state needs is there."""
    ended = record.run is None or record.run.ended is not None
    match record.state:
        case AgentState.STARTING:
            return not ended
        case AgentState.RUNNING | AgentState.STOPPING:
            # Each run that has not ended is kept as at its launch.
            return False
        case AgentState.BACKOFF | AgentState.EXITED | AgentState.FAILED:
            return record.run is not None and ended and record.outcome is not None
        case AgentState.TIMED_OUT:
            return ended and record.began is not None
        case _:
            return ended
