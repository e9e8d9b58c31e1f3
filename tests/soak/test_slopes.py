from __future__ import annotations

import random

import pytest

from tests.soak.slopes import Limit, slope, trend

HALF_AN_HOUR = [10.0 * number for number in range(180)]


def test_a_leak_is_found_under_noise_that_is_larger() -> None:
    chance = random.Random(1)
    points = [(at, 60 + 0.003 * at + chance.uniform(-4, 4)) for at in HALF_AN_HOUR]
    judged = trend("memory", "MB", points, Limit(part=0.05, amount=1))
    assert judged.per_hour == pytest.approx(10.8, rel=0.2)
    assert not judged.flat
    assert "GROWS" in judged.row()


def test_noise_and_single_slow_samples_are_flat() -> None:
    chance = random.Random(2)
    points = [(at, 3 + chance.uniform(0, 2) + (300 if chance.random() < 0.1 else 0)) for at in HALF_AN_HOUR]
    assert trend("latency", "ms", points, Limit(part=0.5, amount=1)).flat


def test_what_shrinks_is_flat() -> None:
    assert trend("memory", "MB", [(at, 100 - at / 100) for at in HALF_AN_HOUR], Limit(part=0, amount=0)).flat


def test_one_sample_has_no_slope() -> None:
    assert slope([(0.0, 5.0)]) == 0.0


def test_of_a_few_samples_nothing_is_said() -> None:
    judged = trend("latency", "ms", [(float(at), float(at)) for at in range(10)], Limit(part=0, amount=0))
    assert judged.flat
    assert "too few" in judged.row()
