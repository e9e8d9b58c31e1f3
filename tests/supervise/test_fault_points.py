"""The steps at which the fault runs kill agentd are there: a function that moved is found at once."""

from __future__ import annotations

import pytest

from tests.faults.points import POINTS, Point, _owner


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_each_point_is_a_function_of_its_place(point: Point) -> None:
    owner, name = _owner(point)
    assert name in vars(owner)
