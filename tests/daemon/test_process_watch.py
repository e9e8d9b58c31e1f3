"""How often agentd looks at the processes of agents: each look costs some 20 ms of CPU with 300 of them."""

from __future__ import annotations

import pytest

from agentd.daemon.process_watch import EVERY, pause


@pytest.mark.parametrize(
    ("shortest", "expected"), [(None, EVERY), (10_000.0, EVERY), (600.0, EVERY), (300.0, 30.0), (60.0, 6.0), (1.0, 1.0)]
)
def test_a_look_comes_each_minute_unless_orphans_are_to_be_ended_sooner(
    shortest: float | None, expected: float
) -> None:
    assert pause(shortest) == expected
