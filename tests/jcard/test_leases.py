"""A lease is counted from the last move of the modification time that was seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.jcard.leases import Renewal, expired, next_expiry, renew

A, B = Path("/d/a.toml"), Path("/d/b.toml")


@pytest.mark.parametrize(("now", "over"), [(109.9, False), (110.0, True), (1e6, True)])
def test_a_file_counts_for_its_lease(now: float, over: bool) -> None:
    renewals = renew({}, {A: 7}, 100.0)
    assert expired(renewals, {A: 10.0}, now) == (frozenset({A}) if over else frozenset())


@pytest.mark.parametrize("modified", [8, 6])
def test_any_move_of_the_modification_time_renews_it(modified: int) -> None:
    """Backward, too: whoever sets a time has set it."""
    renewals = renew(renew({}, {A: 7}, 100.0), {A: modified}, 109.0)
    assert expired(renewals, {A: 10.0}, 118.9) == frozenset()
    assert expired(renewals, {A: 10.0}, 119.0) == {A}


def test_a_look_that_finds_no_move_renews_nothing() -> None:
    renewals = renew({}, {A: 7}, 100.0)
    for now in (101.0, 105.0, 109.0):
        renewals = renew(renewals, {A: 7}, now)
    assert renewals == {A: Renewal(7, 100.0)}


def test_a_file_that_was_removed_and_comes_back_begins_anew() -> None:
    renewals = renew(renew(renew({}, {A: 7}, 100.0), {}, 105.0), {A: 7}, 200.0)
    assert expired(renewals, {A: 10.0}, 209.0) == frozenset()


def test_the_next_expiry_is_that_of_the_first_lease_that_is_not_over() -> None:
    renewals = {A: Renewal(1, 100.0), B: Renewal(1, 105.0)}
    leases = {A: 10.0, B: 30.0}
    assert next_expiry(renewals, leases, 100.0) == 110.0
    assert next_expiry(renewals, leases, 110.0) == 135.0
    assert next_expiry(renewals, leases, 135.0) is None
    assert next_expiry(renewals, {}, 100.0) is None


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=20), st.floats(0.2, 10))
def test_a_file_has_expired_exactly_if_no_move_was_seen_for_its_lease(
    steps: list[tuple[float, bool]], lease: float
) -> None:
    now, modified, seen = 0.0, 0, 0.0
    renewals = renew({}, {A: modified}, now)
    for later, moves in steps:
        now += later
        if moves:
            modified, seen = modified + 1, now
        renewals = renew(renewals, {A: modified}, now)
        over = now >= seen + lease
        assert expired(renewals, {A: lease}, now) == (frozenset({A}) if over else frozenset())
        assert (next_expiry(renewals, {A: lease}, now) is None) == over
