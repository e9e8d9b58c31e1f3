"""The steps at which the fault runs kill agentd are there: a function that moved is found at once."""

from __future__ import annotations

import pytest

from tests.faults.budgets import BUDGET_POINTS
from tests.faults.points import POINTS, Point, _owner
from tests.faults.schedules import SCHEDULE_POINTS


@pytest.mark.parametrize(
    "point", dict.fromkeys((*POINTS, *BUDGET_POINTS, *SCHEDULE_POINTS)), ids=lambda point: point.name
)
def test_each_point_is_a_function_of_its_place(point: Point) -> None:
    owner, name = _owner(point)
    assert name in vars(owner)
