"""Placeholders, and values that are put in their place and taken out of answers."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.model.destinations import Destination
from agentd.sandbox.egress.head import BadRequestError, Head, parse_head
from agentd.sandbox.egress.placeholders import Mask, Substitution, placeholder_for, put_in

VALUE = "sk-ant-api03-the-value"
ONE = Substitution(placeholder_for(VALUE), VALUE, (Destination("api.example", 443),))


def head(name: str, value: str) -> Head:
    """A request with this field."""
    return parse_head(f"GET / HTTP/1.1\r\nAccept-Encoding: br\r\n{name}: {value}\r\n\r\n".encode())


@pytest.mark.parametrize(
    ("value", "begins"),
    [(VALUE, "sk-ant-api03-"), ("ghp_x", "ghp_"), ("glpat-x", "glpat-"), ("x" * 500, ""), ("", ""), ("pa\nss", "")],
)
def test_a_placeholder_begins_as_the_value_does_in_public_and_is_random(value: str, begins: str) -> None:
    one, other = placeholder_for(value), placeholder_for(value)
    assert one.startswith(begins)
    assert one != other
    assert 40 <= len(one) <= 128
    assert one.removeprefix(begins).isalnum()
    assert not value or value[len(begins) :] not in one or len(value) <= len(begins) + 1


@pytest.mark.parametrize(
    "name", ["Authorization", "x-api-key", "PRIVATE-TOKEN", "X-Goog-Api-Key", "x-auth", "X-Secret", "Proxy-X-Password"]
)
def test_a_value_is_put_into_fields_of_credentials(name: str) -> None:
    done, put = put_in(head(name, f"Bearer {ONE.placeholder}!"), [ONE])
    assert done.values(name.lower().encode()) == [f"Bearer {VALUE}!".encode()]
    assert done.values(b"accept-encoding") == [b"identity"]
    assert put == (VALUE.encode(),)


@pytest.mark.parametrize("name", ["User-Agent", "Referer", "X-Request-Id", "Cookie", "Sec-WebSocket-Key", "Accept"])
def test_and_into_no_others(name: str) -> None:
    request = head(name, ONE.placeholder)
    assert put_in(request, [ONE]) == (request, ())


def test_basic_is_decoded() -> None:
    def basic(password: str) -> str:
        return "Basic " + base64.b64encode(f"me:{password}".encode()).decode()

    done, put = put_in(head("Authorization", basic(ONE.placeholder)), [ONE])
    assert done.values(b"authorization") == [basic(VALUE).encode()]
    assert set(put) == {VALUE.encode(), basic(VALUE)[6:].encode()}
    for other in (basic("other"), "Basic !", "Basic"):
        assert put_in(head("Authorization", other), [ONE])[1] == ()


@given(st.lists(st.sampled_from([b"the-value", b"the-", b"value", b"the-the-value", b"x"])), st.data())
def test_what_was_put_in_does_not_come_back_however_it_is_cut(parts: list[bytes], data: st.DataObject) -> None:
    text = b"".join(parts)
    mask, out = Mask(), b""
    mask.add([b"the-value", b"short"])
    while text:
        size = data.draw(st.integers(1, len(text)))
        out += mask.take(text[:size])
        text = text[size:]
    out += mask.rest()
    assert out == b"".join(parts).replace(b"the-value", b"*" * 9)


def test_what_cannot_become_a_value_is_not_held_back() -> None:
    mask = Mask()
    mask.add([b"the-value"])
    assert mask.take(b"data: 1\n\n") == b"data: 1\n\n"
    assert mask.take(b"data: the-v") == b"data: "
    assert mask.take(b"an") == b"the-van"


def test_a_value_that_would_make_fields_of_its_own_is_not_sent() -> None:
    broken = Substitution(ONE.placeholder, "a\r\nHost: evil", ONE.to)
    with pytest.raises(BadRequestError, match="no header field can carry"):
        put_in(head("X-Api-Key", ONE.placeholder), [broken])


def test_who_sends_ever_new_values_has_the_last_ones_masked() -> None:
    mask = Mask()
    values = [b"value-%05d" % number for number in range(500)]
    for value in values:
        mask.add([value])
    assert mask.take(values[-1] + b" ") == b"*" * 11 + b" "
    assert mask.take(values[0] + b" ") == values[0] + b" "
