"""Durations and sizes against a second reading of their grammar, in exact fractions."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.text.durations import DurationError, parse_duration
from agentd.text.sizes import SizeError, parse_size
from tests.fuzz.effort import examples
from tests.support.printed import harmless

NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
GO_MAXIMUM = 2**63 - 1

_NUMBERS = st.from_regex(r"[0-9]{0,6}(\.[0-9]{0,12})?", fullmatch=True)
_PARTS = st.builds(str.__add__, _NUMBERS, st.sampled_from(sorted(NANOSECONDS)))
_DURATIONS = st.one_of(
    st.lists(_PARTS, max_size=4).map("".join),
    st.builds("{}{}".format, st.integers(0, 2**64), st.sampled_from(sorted(NANOSECONDS))),
)
_SIZES = st.builds(
    "{}{}{}{}".format,
    st.one_of(st.integers(0, 2**64), st.from_regex(r"[0-9]{1,4}\.[0-9]{0,10}", fullmatch=True)),
    st.sampled_from(["", " ", "  "]),
    st.sampled_from([*BYTES, "KiB", "MiB", "GB", "B", "Gib", "TB", "K", "\N{KELVIN SIGN}B"]),
    st.sampled_from(["", "", "", " ", "\n", "x"]),
)


def near(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """The texts themselves, and with something put in front, inside or behind."""
    odd = st.sampled_from(["", "", "", "-", "+", " ", "\n", "0", "٣", "e3", "_", ".", "d", "\0", "s"])
    return st.builds(lambda text, at, more: text[:at] + more + text[at:], texts, st.integers(0, 12), odd)


def go_nanoseconds(text: str) -> Fraction | None:
    """Read a duration by the grammar of Go's ``time.ParseDuration``; ``None`` if it is none."""
    text = text.removeprefix("+")
    if text == "0":
        return Fraction(0)
    total, position = Fraction(0), 0
    pattern = re.compile(r"([0-9]*)(\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")
    while position < len(text):
        match = pattern.match(text, position)
        if match is None or not (match[1] or match[3]):
            return None
        digits = match[3] or ""
        total += (Fraction(int(match[1] or 0)) + Fraction(int(digits or 0), 10 ** len(digits))) * NANOSECONDS[match[4]]
        position = match.end()
    return total if text else None


@examples(100)
@given(near(_DURATIONS))
def test_a_duration_is_what_go_would_read_or_an_error_that_shows_it(text: str) -> None:
    expected = go_nanoseconds(text)
    # Go cuts each part to whole nanoseconds, so right at its limit either answer is right.
    slack = 1000 * len(text)
    seconds, reason = read(parse_duration, text)
    if seconds is None:
        assert harmless(reason)
        assert expected is None or expected > GO_MAXIMUM - slack
    else:
        assert expected is not None
        assert expected <= GO_MAXIMUM + slack
        assert seconds == pytest.approx(float(expected / 10**9), rel=1e-9, abs=1e-6 * len(text))


@examples(100)
@given(near(_SIZES))
def test_a_size_is_an_exact_number_of_bytes_or_an_error_that_shows_it(text: str) -> None:
    match = re.fullmatch(r"([0-9]+)(\.[0-9]+)? ?([KMGkmg][Ii]?[Bb]|[Bb]|)", text)
    size, reason = read(parse_size, text)
    if size is None:
        assert harmless(reason)
    else:
        assert match is not None
        assert 1 <= size <= GO_MAXIMUM
        assert size == int(Fraction(match[1] + (match[2] or "")) * BYTES[match[3].lower()])


N = TypeVar("N", int, float)


def read(parse: Callable[[str], N], text: str) -> tuple[N | None, str]:
    """What the parser makes of it, or why nothing."""
    try:
        return parse(text), ""
    except (DurationError, SizeError) as error:
        return None, str(error)
