"""Whether a webhook is who it says it is, and what it brings."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from pydantic import JsonValue

from agentd.gateway.model.webhooks import MissingInputError, counts, is_event, is_number, is_signed, values_of
from agentd.model.triggers import Delivery, Webhook
from agentd.supervise.trigger_spool import delivery_id, delivery_of, written

HOOK = Webhook("HOOK", (), (("url", "pull.url"), ("label", "labels.0.name")))
BODY: JsonValue = {"pull": {"url": 'https://x/1\x1b"', "n": 3, "open": True, "by": None}, "labels": [{"name": "a"}]}


def test_the_example_of_github_s_documentation_is_signed() -> None:
    right = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    secret, body = "It's a Secret to Everybody", b"Hello, World!"
    assert is_signed(secret, body, right)
    for wrong in ("", "sha256=", right[:-1], right.upper(), right.removeprefix("sha256="), right + " ", "\u00e4"):
        assert not is_signed(secret, body, wrong)
    assert not is_signed(secret, body + b" ", right)
    assert not is_signed(secret + " ", body, right)


@pytest.mark.parametrize("secret", [None, ""])
def test_without_a_secret_nothing_is_signed(secret: str | None) -> None:
    for key in (b"", b"no secret is as long as this one, which is nobody's"):
        signature = "sha256=" + hmac.new(key, b"x", hashlib.sha256).hexdigest()
        assert not is_signed(secret, b"x", signature)


def test_values_are_found_by_their_paths_and_cleaned() -> None:
    assert values_of(HOOK, BODY, "pull_request", "7-a") == {
        "url": 'https://x/1"',
        "label": "a",
        "event": "pull_request",
        "delivery": "7-a",
    }
    others = Webhook("HOOK", (), (("n", "pull.n"), ("open", "pull.open"), ("by", "pull.by"), ("all", "labels")))
    assert list(values_of(others, BODY, "", "").values())[:4] == ["3", "true", "", '[{"name": "a"}]']


@pytest.mark.parametrize("place", ["x", "pull.url.x", "labels.1", "labels.-1", "labels.name", "labels.0.name.0"])
def test_what_is_not_there_is_an_error(place: str) -> None:
    with pytest.raises(MissingInputError, match=r"the body has no .*, which is the input a"):
        values_of(Webhook("HOOK", (), (("a", place),)), BODY, "", "1")


def test_which_events_count() -> None:
    assert counts(HOOK, "push")
    assert counts(HOOK, "")
    assert not counts(HOOK, "ping")
    assert counts(Webhook("HOOK", ("ping",)), "ping")
    assert not counts(Webhook("HOOK", ("push",)), "")


@pytest.mark.parametrize("text", ["", "a b", "\u0661", "x" * 65, "a\n"])
def test_what_is_no_number_and_no_event_is_none(text: str) -> None:
    assert not is_number(text)
    assert not is_event(text)
    assert is_number("72d3162e-cc78-11e3-81ab-4c9367dc0958")
    assert is_event("pull_request")


def test_agentd_reads_what_the_gateway_writes_and_nothing_else() -> None:
    delivery = Delivery(delivery_id("pr", "1"), "pr", {"url": "\u00e4 \U0001f600"}, 7.5)
    assert delivery_of(written(delivery)) == delivery
    assert delivery_id("pr", "1") != delivery_id("pr", "2") != delivery_id("p", "r1")
    evil = Delivery(delivery.id, "pr", {"url": "a\x1b[2Jb"}, 7.5)
    assert delivery_of(written(evil)) == Delivery(delivery.id, "pr", {"url": "a[2Jb"}, 7.5)
    for data in (b"", b"{", b"[]", b"[" * 100_000, b'{"v": 1}', written(delivery).replace(b'"v": 1', b'"v": 2')):
        assert isinstance(delivery_of(data), str)
    assert isinstance(delivery_of(written(Delivery("../../x", "pr", {}, 1.0))), str)
