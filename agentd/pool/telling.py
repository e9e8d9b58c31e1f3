"""What is told of a worker that something happened to, as short as was asked for. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final

from agentd.model.pool import WorkerEvent
from agentd.pool.looking import Look
from agentd.pool.results.common import cut, size_of
from agentd.pool.results.workers import Observation


class Detail(StrEnum):
    """How much of what a worker said and printed is told."""

    SUMMARY = "summary"
    """At most 1 KB in all."""
    EXCERPT = "excerpt"
    """The answer up to 4 KB, and its last 20 lines."""
    FULL = "full"
    """The whole answer, and its last 200 lines."""


SUMMARY_BYTES: Final = 1000
"""Of the document as agentctl prints it."""

_EXCERPT: Final = 4096
"""Characters."""

_SHORT: Final = 200
"""Characters of a question or an error in a summary."""


def told(
    look: Look | None,
    event: WorkerEvent | None,
    lines: Sequence[str] | None,
    cursor: str,
    detail: Detail,
    again: Sequence[str] = (),
) -> Observation:
    """Say what happened.

    Parameters
    ----------
    look
        At the worker; ``None`` for several to which nothing happened.
    lines
        The last that it printed, if they are wanted.
    again
        The workers that are waited for, if nothing happened.
    """
    if look is None:
        next_ = f"agentctl observe {' '.join(again)} --cursor {cursor}"
        return Observation(
            *(None,) * 6, answer_cut=False, asks=None, request=None, choices=(), error=None, output=None, cursor=cursor,
            timed_out=True, next=next_,
        )  # fmt: skip
    status, last, asked = look.status, look.last, look.asked
    wants_answer = last is not None and (event is not None or not look.turn_is_under_way)
    answer = last.text if last is not None and wants_answer else None
    error = status.text("error") or (last.error if last is not None and wants_answer else None)
    observation = Observation(
        event=None if event is None else event.value,
        worker=status.name,
        state=status.state.value,
        activity=status.text("activity"),
        exit=status.exit,
        answer=answer,
        answer_cut=last is not None and wants_answer and last.cut,
        asks=None if asked is None else asked.text,
        request=None if asked is None else asked.id or None,
        choices=() if asked is None else tuple(asked.choices),
        error=error,
        output=None if lines is None else tuple(lines),
        cursor=cursor,
        timed_out=event is None,
        next=_next(status.name, event, cursor),
    )
    return _shortened(observation, detail)


def _next(name: str, event: WorkerEvent | None, cursor: str) -> str:
    match event:
        case WorkerEvent.COMPLETED | WorkerEvent.EXITED:
            return f"agentctl collect {name}"
        case WorkerEvent.APPROVAL:
            return f"agentctl answer {name} allow|deny"
        case WorkerEvent.QUESTION:
            return f"agentctl answer {name} TEXT"
        case WorkerEvent.ERROR:
            return f"agentctl transcript {name} --tail-lines 50"
        case WorkerEvent.USAGE_LIMIT:
            return "agentctl usage --refresh"
        case WorkerEvent.IDLE:
            return f"agentctl send {name} TEXT"
        case _:
            return f"agentctl observe {name} --cursor {cursor}"


def _shortened(observation: Observation, detail: Detail) -> Observation:
    match detail:
        case Detail.FULL:
            return observation
        case Detail.EXCERPT:
            short = cut(observation.answer, _EXCERPT)
            return replace(observation, answer=short, answer_cut=observation.answer_cut or short != observation.answer)
        case _:
            return _summary(observation)


def _summary(observation: Observation) -> Observation:
    short = replace(
        observation,
        asks=cut(observation.asks, _SHORT),
        error=cut(observation.error, _SHORT),
        choices=tuple(str(cut(each, 40)) for each in observation.choices[:6]),
    )
    answer, most = short.answer, len(short.answer or "")
    while most > 0 and size_of(short) > SUMMARY_BYTES:
        most -= max(1, (size_of(short) - SUMMARY_BYTES) // 6)
        # Of a long answer the beginning is its gist more often than its end.
        short = replace(short, answer=cut(answer, max(1, most)), answer_cut=True)
    if size_of(short) > SUMMARY_BYTES:
        short = replace(short, asks=cut(short.asks, 60), error=cut(short.error, 60), choices=short.choices[:2])
    return short
