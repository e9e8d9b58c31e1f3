from __future__ import annotations

import pytest

from agentd.jcard.edit.assignments import AssignmentError, parse_assignment, parse_field


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("restart=always", ("restart",), "always"),
        ("timeout=1h", ("timeout",), "1h"),
        ('timeout="1h"', ("timeout",), "1h"),
        ("max_restarts=3", ("max_restarts",), 3),
        ("enabled=false", ("enabled",), False),
        ('args=["--fast", "x"]', ("args",), ["--fast", "x"]),
        ("success_exit_codes=[0, 3]", ("success_exit_codes",), [0, 3]),
        ("memory=2GiB", ("memory",), "2GiB"),
        ("memory=1024", ("memory",), 1024),
        ("model=4", ("model",), "4"),
        ("prompt=a = b", ("prompt",), "a = b"),
        ("prompt=", ("prompt",), ""),
        ('prompt=1\nother="2"', ("prompt",), '1\nother="2"'),
        ("env.LEVEL=3", ("env", "LEVEL"), "3"),
        ('env={A="x"}', ("env",), {"A": "x"}),
    ],
)
def test_values_are_what_the_field_holds(text: str, path: tuple[str, ...], value: object) -> None:
    assert parse_assignment(text) == (path, value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("restart", 'expected key=value, found "restart"'),
        ("resart=no", 'no field "resart": did you mean restart?'),
        ("zzz=no", "the fields are name, harness"),
        ("name.x=no", 'no field "name.x"'),
        ("restart=often", 'restart: found "often", expected one of "no"'),
        ("timeout=30", 'write "30s" for seconds'),
        ("max_restarts=-1", "max_restarts: found -1, expected at least 0"),
        ("enabled=yes", 'enabled: found "yes", expected true or false'),
        ("args=--fast", 'expected an array, written in [ ]; write args=["…", "…"]'),
        ("success_exit_codes=[0, 300]", "success_exit_codes[1]: found 300, expected at most 255"),
        ("env.1A=x", "expected an environment variable name"),
        ("env.AGENTD_AGENT=x", "is set by agentd"),
        ("session=", "session: expected a value, found none; agentctl unset takes the field out"),
        ("prompt=\udcff", "prompt: the value is not UTF-8"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(text: str, message: str) -> None:
    with pytest.raises(AssignmentError) as caught:
        parse_assignment(text)
    assert message in str(caught.value)


def test_a_key_that_is_no_field_may_be_named_to_be_taken_out() -> None:
    assert parse_field("promt", known_only=False) == ("promt",)
    with pytest.raises(AssignmentError):
        parse_field("promt")
