"""What agentd-gateway hands to agentd, as it is read: another version, or a damaged file, is said and not run."""

from __future__ import annotations

import json

import pytest

from agentd.model.triggers import Delivery
from agentd.supervise.trigger_spool import delivery_id, delivery_of, written

DELIVERY = Delivery(delivery_id("hook", "7"), "hook", {"body": "ä\n"}, 7.5)


def test_it_is_read_as_it_was_written() -> None:
    assert delivery_of(written(DELIVERY)) == DELIVERY
    assert delivery_id("hook", "7") != delivery_id("hook", "8") != delivery_id("hook2", "8")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"v": 1}', written(DELIVERY)[:-1]])
def test_what_is_damaged_is_said(data: bytes) -> None:
    assert isinstance(delivery_of(data), str)


@pytest.mark.parametrize(("field", "value"), [("v", 2), ("id", "../x"), ("at", -1), ("values", {"body": 1})])
def test_what_no_gateway_writes_is_said(field: str, value: object) -> None:
    assert isinstance(delivery_of(json.dumps({**json.loads(written(DELIVERY)), field: value}).encode()), str)
