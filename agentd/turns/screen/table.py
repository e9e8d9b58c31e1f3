"""Precision and recall of the screen rules on labelled screens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from agentd.model.states import Activity
from agentd.turns.screen.judging import judge_screen


class LabelsError(ValueError):
    """The index of a folder of screens cannot be read; the message says where."""


class Label(BaseModel):
    """A line of ``index.jsonl``."""

    model_config = ConfigDict(frozen=True)

    file: str
    """Path of the screen in the folder: what ``tmux capture-pane -e -p`` printed."""
    harness: str
    title: str = ""
    expect: Activity
    note: str = ""
    """When it was captured."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A labelled screen, and what the rules say of it."""

    label: Label
    activity: Activity


def read_labels(folder: Path) -> list[Label]:
    """Read ``index.jsonl``.

    Raises
    ------
    LabelsError
        If a line of it is not a `Label`.
    OSError
        If there is none.
    """
    labels: list[Label] = []
    for number, line in enumerate((folder / "index.jsonl").read_text(encoding="utf-8").splitlines(), 1):
        try:
            labels.append(Label.model_validate_json(line))
        except ValidationError as error:
            raise LabelsError(f"{folder / 'index.jsonl'}, line {number}: {error}") from error
    return labels


def judge_labelled(folder: Path) -> list[Outcome]:
    """Judge all screens of a folder.

    Raises
    ------
    LabelsError
        If the index cannot be used.
    OSError
        If a screen cannot be read.
    """
    return [
        Outcome(
            label,
            judge_screen(
                label.harness, (folder / label.file).read_text(encoding="utf-8", errors="replace"), label.title
            ).activity,
        )
        for label in read_labels(folder)
    ]


def precision_table(outcomes: Sequence[Outcome]) -> str:
    """Write the Markdown table: a line for each harness and activity, and one for all of a harness.

    Precision is how many of the screens that the rules called so are so, recall how many of those that are so they
    called so. In the line of all, `Activity.UNKNOWN` counts neither as an answer nor as one that could be given.
    """
    lines = ["| harness | activity | screens | precision | recall |", "| --- | --- | --- | --- | --- |"]
    for harness in sorted({outcome.label.harness for outcome in outcomes}):
        lines += _rows(harness, [outcome for outcome in outcomes if outcome.label.harness == harness])
    return "".join(f"{line}\n" for line in lines)


def _rows(harness: str, outcomes: Sequence[Outcome]) -> Iterator[str]:
    true = Counter(outcome.label.expect for outcome in outcomes)
    said = Counter(outcome.activity for outcome in outcomes)
    right = Counter(outcome.activity for outcome in outcomes if outcome.activity == outcome.label.expect)
    for activity in Activity:
        if true[activity] or said[activity]:
            shares = f"{_share(right[activity], said[activity])} | {_share(right[activity], true[activity])}"
            yield f"| {harness} | {activity} | {true[activity]} | {shares} |"
    known = [activity for activity in Activity if activity is not Activity.UNKNOWN]
    hits, answers, askable = (sum(counter[activity] for activity in known) for counter in (right, said, true))
    yield f"| **{harness}** | **all** | {len(outcomes)} | {_share(hits, answers)} | {_share(hits, askable)} |"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "none"
