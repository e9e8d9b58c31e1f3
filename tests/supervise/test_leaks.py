"""When growth is told and orphans are ended: functions of frozen values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentd.model.states import Activity
from agentd.supervise.leaks import MOST_PROCESSES, TOLD_EVERY, Growth, Sample, grown, reaps
from agentd.supervise.run_watcher import WatchedRun

GIB = 1024**3
FIRST = Sample("r", 0.0, 3, GIB)


def after(growth: Growth | None, at: float, memory: int = GIB, processes: int = 3) -> tuple[Growth, Sample | None]:
    return grown(growth, Sample("r", at, processes, memory), 2 * GIB)


def test_growth_is_told_from_the_least_there_was_and_once_an_hour() -> None:
    growth, told = after(None, 0, 4 * GIB)
    assert told is None, "there is nothing to compare with"
    growth, told = after(growth, 60, GIB)
    growth, told = after(growth, 120, 3 * GIB - 1)
    assert told is None
    growth, told = after(growth, 180, 3 * GIB)
    assert (told, growth.told) == (FIRST, 180)
    # What it is now is what the next growth is measured from.
    growth, told = after(growth, 240, 4 * GIB)
    assert told is None
    growth, told = after(growth, 300, 5 * GIB)
    assert told is None, "within the hour"
    growth, told = after(growth, 180 + TOLD_EVERY, 5 * GIB)
    assert told is not None
    assert told.memory_bytes == 3 * GIB


def test_processes_count_too_and_another_run_begins_anew() -> None:
    growth, _ = after(None, 0)
    assert after(growth, 60, processes=3 + MOST_PROCESSES)[1] == FIRST
    assert after(growth, 60, processes=2 + MOST_PROCESSES)[1] is None
    other = Sample("other", 60, 999, 99 * GIB)
    assert grown(growth, other, 2 * GIB) == (Growth(other), None)
    assert grown(growth, replace(other, run_id="r"), None)[1] is None


@pytest.mark.parametrize("activity", Activity)
def test_orphans_are_ended_only_of_an_agent_that_has_been_idle_long_enough(activity: Activity) -> None:
    shown = WatchedRun(activity, 1000.0, "hooks", None, None)
    idle = activity is Activity.IDLE
    assert reaps(60, shown, 1060) is idle
    assert not reaps(60, shown, 1059)
    assert not reaps(None, shown, 9999)
    assert not reaps(60, None, 9999)
    left = replace(shown, background=True)
    assert reaps(60, left, 1060) is (idle or activity is Activity.WORKING)
