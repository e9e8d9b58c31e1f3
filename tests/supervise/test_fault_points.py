"""The steps at which the fault runs kill a program are there: a function that moved is found at once."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module

import pytest

from tests import faults
from tests.faults.points import Point, _owner

pytestmark = pytest.mark.thorough
"""As the fault runs are; they import all programs."""


def _points() -> Iterator[Point]:
    """Give those of all families: each module, or a class of it, has its own in tuples."""
    for module in pkgutil.iter_modules(faults.__path__):
        if module.name == "__main__":
            continue
        values = list(vars(import_module(f"{faults.__name__}.{module.name}")).values())
        values += [value for each in values if isinstance(each, type) for value in vars(each).values()]
        for value in values:
            if isinstance(value, tuple):
                yield from (each for each in value if isinstance(each, Point))


ALL = tuple(dict.fromkeys(_points()))


def test_all_families_are_looked_at() -> None:
    assert {"result.followed", "channel.claimed"} <= {point.name for point in ALL}
    assert len(ALL) > 100


@pytest.mark.parametrize("point", ALL, ids=lambda point: point.name)
def test_each_point_is_a_function_of_its_place(point: Point) -> None:
    owner, name = _owner(point)
    assert name in vars(owner)
