from __future__ import annotations

import re

import pytest

from agentd.gateway import ids
from agentd.gateway.ids import go_on_after, new_id


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_last", {})


def test_ids_have_the_form_of_the_contract_and_sort_by_time() -> None:
    earlier, later = new_id("run", 1_800_000_000.001), new_id("run", 1_800_000_000.002)
    assert re.fullmatch(r"run_[0-9A-Z]{26}", earlier)
    assert earlier < later


def test_ids_sort_in_the_order_in_which_they_were_made_whatever_the_clock_says() -> None:
    made = [new_id("run", now) for now in (2000.0, 2000.0, 2000.0005, 1000.0, 0.0, 2000.001, 3000.0)]
    assert made == sorted(made)
    assert new_id("ses", 1000.0)[4:] < made[0][4:], "each kind by itself"


def test_ids_sort_after_those_of_a_former_process() -> None:
    former = new_id("run", 2000.0)
    ids._last.clear()
    go_on_after([former, "run_x", "run", "ses_0123456789-?!", ""])
    assert new_id("run", 1000.0) > former


def test_no_id_tells_another() -> None:
    assert len({new_id("ses", 1.0) for _ in range(1000)}) == 1000
