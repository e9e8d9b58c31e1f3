"""What real screens of the real harnesses show, judged by the rules alone."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from statistics import median

import pytest

from agentd.model.states import Activity
from agentd.turns.activity import LONGEST_TEXT
from agentd.turns.screen.judging import Judgement, judge_screen
from agentd.turns.screen.table import Label, Outcome, judge_labelled, precision_table, read_labels
from tests.docs.newcomer import ROOT

SCREENS = Path(__file__).parent / "screens"
LABELS = read_labels(SCREENS)
HARNESSES = ("claude-code", "codex", "gemini-cli", "opencode")
UNSURE = {Activity.UNKNOWN}


def _ansi(label: Label) -> str:
    return (SCREENS / label.file).read_text(encoding="utf-8")


def _judged(label: Label, ansi: str | None = None, title: str | None = None) -> Judgement:
    return judge_screen(label.harness, _ansi(label) if ansi is None else ansi, label.title if title is None else title)


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return judge_labelled(SCREENS)


def test_every_screen_is_judged_as_what_it_shows(outcomes: list[Outcome]) -> None:
    wrong = [
        f"{outcome.label.file}: expected {outcome.label.expect}, got {outcome.activity} ({outcome.label.note})"
        for outcome in outcomes
        if outcome.activity is not outcome.label.expect
    ]
    assert not wrong


@pytest.mark.parametrize("harness", HARNESSES)
def test_there_are_three_screens_of_every_activity_and_traps(harness: str) -> None:
    mine = [label for label in LABELS if label.harness == harness]
    assert min(Counter(label.expect for label in mine)[activity] for activity in Activity) >= 3
    assert sum("TRAP" in label.note for label in mine) >= 3


def test_the_table_in_the_docs_is_what_the_command_prints(outcomes: list[Outcome]) -> None:
    page = (ROOT / "docs" / "reference" / "screen-rules.md").read_text(encoding="utf-8")
    assert precision_table(outcomes) in page


def test_without_a_title_a_screen_is_told_or_unknown() -> None:
    labels = [label for label in LABELS if label.expect is not Activity.UNKNOWN]
    told = {label.file: _judged(label, title="").activity for label in labels}
    assert not [label.file for label in labels if told[label.file] not in {label.expect, *UNSURE}]
    assert sum(activity is not Activity.UNKNOWN for activity in told.values()) > 0.9 * len(labels)


def test_a_title_alone_tells_nothing() -> None:
    for label in LABELS[::8]:
        for ansi in ("", "\n\n", "\x1b[39m\n" * 24, "$ \n", "bash-5.2$ ls\nREADME.md\nbash-5.2$ "):
            assert _judged(label, ansi).activity is Activity.UNKNOWN


def test_a_half_drawn_screen_is_told_or_unknown() -> None:
    """What has not been drawn yet is at the bottom."""
    for label in LABELS[::8]:
        if label.expect is Activity.UNKNOWN:
            continue
        rows = _ansi(label).split("\n")
        for drawn in range(len(rows) % 4, len(rows), 4):
            assert _judged(label, "\n".join(rows[:drawn])).activity in {label.expect, *UNSURE}, label.file


def test_a_shell_below_a_former_screen_is_unknown() -> None:
    for label in LABELS[::2]:
        ansi = _ansi(label).rstrip("\n") + "\x1b[0m\nbash-5.2$ \n"
        assert _judged(label, ansi).activity is Activity.UNKNOWN, label.file


def test_a_warning_of_gemini_below_changes_nothing() -> None:
    """Seen live: it comes late on a loaded machine, below the box or a dialog."""
    warning = "\x1b[38;5;229m⚠  Warning: True color (24-bit) support not detected.\n   visual experience\n"
    for label in LABELS:
        if label.harness == "gemini-cli" and label.expect is not Activity.UNKNOWN:
            assert _judged(label, _ansi(label).rstrip() + "\x1b[0m\n\n" + warning).activity is label.expect, label.file


def test_no_rule_of_another_harness_tells_what_somebody_waits_for() -> None:
    for label in LABELS[::8]:
        for other in HARNESSES:
            if other != label.harness:
                told = judge_screen(other, _ansi(label), label.title).activity
                assert told in {Activity.UNKNOWN, Activity.IDLE, Activity.WORKING, label.expect}, (other, label.file)


def test_the_text_says_what_is_asked_or_what_failed() -> None:
    asking = {Activity.WAITING_PERMISSION, Activity.WAITING_INPUT, Activity.USAGE_LIMIT, Activity.AUTH_ERROR}
    for label in LABELS[::2]:
        text = _judged(label).text
        assert (text is not None) == (label.expect in asking), label.file
        assert text is None or 5 < len(text) <= LONGEST_TEXT, label.file


def test_a_screen_of_200_columns_and_50_rows_is_judged_within_2_ms() -> None:
    large = [label for label in LABELS if "200x50" in label.note]
    assert large
    spent: list[float] = []
    for label in large:
        ansi = _ansi(label)
        best = 1.0
        for _ in range(3):
            begun = time.thread_time()
            judge_screen(label.harness, ansi, label.title)
            best = min(best, time.thread_time() - begun)
        spent.append(best)
    assert median(spent) < 0.002
