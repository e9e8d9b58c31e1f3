"""``schedule``, ``time_zone``, ``catch_up`` and ``overlap`` of an agent."""

from __future__ import annotations

import pytest

from agentd.model.order import Overlap, Schedule
from tests.jcard.loading import agent_of, error_of, warnings_of


def test_a_schedule_alone_has_defaults() -> None:
    assert agent_of('schedule = "0 9 * * 1-5"').schedule == Schedule("0 9 * * 1-5", None, 60, Overlap.SKIP)
    assert agent_of("").schedule is None
    assert agent_of('schedule = ""').schedule is None


@pytest.mark.parametrize(
    "written", ["@daily", "0 9 * *", "60 9 * * *", "* * * * * * *", "0 9 * * mo", "9:00", "0 9 * * \u0661"]
)
def test_what_is_no_cron_expression_is_refused(written: str) -> None:
    error = error_of(f'schedule = "{written}"')
    assert f'schedule: found "{written}"' in error
    assert 'expected a cron expression such as "0 9 * * 1-5"' in error


def test_a_time_that_there_never_is_is_refused() -> None:
    assert "schedule: found" in error_of('schedule = "0 0 30 2 *"')


@pytest.mark.parametrize("written", ["Berlin", "../../etc/passwd", "/etc/localtime", "Europe", " "])
def test_what_is_no_time_zone_is_refused(written: str) -> None:
    error = error_of(f'schedule = "0 9 * * *"\ntime_zone = "{written}"')
    assert f'time_zone: found "{written}", expected a time zone of the IANA database such as "Europe/Berlin"' in error


def test_what_cannot_be_meant_is_warned_of() -> None:
    def warned(*fields: str) -> list[str]:
        return warnings_of("\n".join(("[agent]", 'harness = "codex"', *fields)))

    (warning,) = warned('schedule = "0 9 * * *"', 'restart = "always"')
    assert 'restart: found "always" beside schedule: a run is never over' in warning
    assert len(warned('catch_up = "1h"', 'overlap = "stop"', 'time_zone = "UTC"')) == 3
    assert "has no effect without schedule" in warned('catch_up = "1h"')[0]
