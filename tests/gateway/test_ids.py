from __future__ import annotations

import re

from agentd.gateway.ids import new_id


def test_ids_have_the_form_of_the_contract_and_sort_by_time() -> None:
    earlier, later = new_id("run", 1_800_000_000.001), new_id("run", 1_800_000_000.002)
    assert re.fullmatch(r"run_[0-9A-Z]{26}", earlier)
    assert earlier < later


def test_no_id_tells_another() -> None:
    assert len({new_id("ses", 1.0) for _ in range(1000)}) == 1000
