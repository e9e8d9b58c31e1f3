"""What an agent is doing, reduced from what its witnesses say. Pure.

Witnesses speak in two classes. What the harness itself records (hooks, status files, its server) is believed first, and
among those the latest word, since they overlap: an interrupt that fires no hook is in the status file a moment later.
The screen is believed where none of them speaks. A turn that failed for lack of quota or credentials outlasts the idle
prompt that follows it, until a turn ends well; tools that still run outlast the end of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from agentd.model.states import Activity
from agentd.text.quoting import printable
from agentd.turns.events import Ended, Failure, Outcome

SETTLED = 0.3
"""Seconds that an activity must last to be an event: a dialog that another program answers at once is none."""

LONGEST_TEXT = 200
"""Characters of an activity's text."""

_ASKING = (Activity.WAITING_PERMISSION, Activity.WAITING_INPUT)

PROCESS, SCREEN = "process", "screen"
"""Sources of what the process alone tells, and of what the terminal shows."""


class Rank(IntEnum):
    """How far a witness is believed; lower is better."""

    RECORD = 0
    """The harness's own record, or its server."""
    SCREEN = 1
    """What the terminal shows."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The last word of one witness."""

    activity: Activity
    at: float
    """When that was so, in seconds since the epoch."""
    text: str = ""
    """The question, or what is to be allowed."""
    rank: Rank = Rank.RECORD
    blind: bool = False
    """Whether it does not tell when the agent asks something: then the screen does."""
    resets_at: float | None = None
    """When the usage limit resets that it tells of, in seconds since the epoch, where it says so."""
    retries: bool = False
    """Whether the harness tries again by itself then."""


@dataclass(frozen=True, slots=True)
class Doing:
    """What an agent is doing."""

    activity: Activity
    source: str
    """The witness."""
    text: str | None = None
    blind: bool = False
    """Whether the screen is to be looked at all the same: the witness does not tell when the agent asks something."""
    resets_at: float | None = None
    """When the usage limit resets that it is at, in seconds since the epoch, where that is said exactly."""
    retries: bool = False
    """Whether the harness tries again by itself then."""
    background: bool = False
    """Whether it is the user's move, and only tools of ended turns still run."""


NOBODY_SPEAKS = Doing(Activity.UNKNOWN, PROCESS)


def weigh(seen: Mapping[str, Seen], last: Ended | None = None, background: Sequence[str] = ()) -> Doing:
    """Weigh what the witnesses say.

    Parameters
    ----------
    seen
        Their last words, by their names; one that knows nothing, or is gone, is left out or says ``unknown``.
    last
        How the last turn ended.
    background
        What still runs of ended turns.
    """
    speaking = [(source, each) for source, each in seen.items() if each.activity is not Activity.UNKNOWN]
    if not speaking:
        return NOBODY_SPEAKS
    best = min(each.rank for _, each in speaking)
    source, word = max(((source, each) for source, each in speaking if each.rank is best), key=lambda pair: pair[1].at)
    if word.blind and word.activity is Activity.WORKING:
        asking = [pair for pair in speaking if pair[1].activity in _ASKING and pair[1].at >= word.at]
        source, word = max(asking, key=lambda pair: pair[1].at, default=(source, word))
    if word.activity is Activity.IDLE:
        if last is not None and last.outcome is Outcome.FAILED and last.failure not in (None, Failure.OTHER):
            assert last.failure is not None
            return Doing(last.failure.activity, source, line(last.error or ""), resets_at=last.resets_at)
        asked = seen.get(SCREEN)
        if word.blind and asked is not None and asked.activity is Activity.WAITING_INPUT and asked.at >= word.at:
            return Doing(asked.activity, SCREEN, line(asked.text), blind=True)
        if background:
            shown = line(f"in the background: {', '.join(background)}")
            return Doing(Activity.WORKING, PROCESS, shown, word.blind, background=True)
    return Doing(word.activity, source, line(word.text), word.blind, word.resets_at, word.retries)


def line(text: str) -> str | None:
    """One printable line of a text, not too long; ``None`` of an empty one."""
    words = " ".join(text[: 4 * LONGEST_TEXT].split())
    shown = printable(words)
    return (shown if len(shown) <= LONGEST_TEXT else f"{shown[: LONGEST_TEXT - 1]}…") or None


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of an agent's activity, and what of it was told as an event."""

    doing: Doing
    since: float
    """Since when it does that, in seconds since the epoch."""
    told: Doing | None = None
    """The last that was told."""


def show(shown: Shown | None, doing: Doing, at: float) -> Shown:
    """Show what an agent is doing now; another text or source is the same activity still."""
    if shown is None:
        return Shown(doing, at)
    if shown.doing.activity is doing.activity:
        return shown if shown.doing == doing else replace(shown, doing=doing)
    return replace(shown, doing=doing, since=at)


def news(shown: Shown, at: float) -> tuple[Shown, bool]:
    """Say whether this activity is to be told as an event now: it is another than was told, and no flicker."""
    if _is_told(shown) or at < shown.since + SETTLED:
        return shown, False
    return replace(shown, told=shown.doing), True


def due(shown: Shown) -> float | None:
    """When `news` is to be asked again, if nothing happens before."""
    return None if _is_told(shown) else shown.since + SETTLED


def _is_told(shown: Shown) -> bool:
    if shown.told is None:
        # That nothing is known is no news of a run that nobody has said anything of.
        return shown.doing.activity is Activity.UNKNOWN
    return (shown.told.activity, shown.told.text) == (shown.doing.activity, shown.doing.text)
