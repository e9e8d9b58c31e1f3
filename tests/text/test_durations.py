from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentd.text.durations import DurationError, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("+3s", 3),
        ("300ms", 0.3),
        ("1.5h", 5400),
        ("1h30m", 5400),
        (".5s", 0.5),
        ("1.s", 1),
        ("1h1h", 7200),
        ("1m1h", 3660),
        ("250us", 0.00025),
        ("250µs", 0.00025),
        ("250μs", 0.00025),
        ("1000ns", 0.000001),
        ("87600h", 315_360_000),
    ],
)
def test_go_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "s",
        ".s",
        "∞",
        "3S",
        "1h 3m",
        "1h-3m",
        "1_0s",
        "٣s",
        "1e3s",
        "3s\n",
        "1h30",
        "..5s",
        "1.2.3s",
        "1mo",
        "1y",
        "1mm",
        "--3s",
        "+",
        "+-3s",
        "0x1s",
        "NaN",
        "infs",
        "1h,3m",
        "three seconds",
    ],
)
def test_what_go_refuses_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(DurationError, match='expected a duration such as "30s"'):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("30", 'found "30", which has no unit: write "30s" for seconds'),
        ("1.5", 'write "1.5s" for seconds'),
        ("-3s", 'found "-3s", which is negative'),
        (" 3s", 'which has white space around it: write "3s"'),
        ("1d", 'but the longest unit is the hour: write "24h"'),
        ("2w", 'but the longest unit is the hour: write "336h"'),
        ("9999999999999h", "longer than the 292 years"),
        ("2562048h", "longer than the 292 years"),
        ("1" * 400 + "s", "longer than the 292 years"),
    ],
)
def test_the_message_says_what_to_write_instead(text: str, advice: str) -> None:
    with pytest.raises(DurationError) as refused:
        parse_duration(text)
    assert advice in str(refused.value)


def test_the_longest_duration_of_go_is_accepted() -> None:
    assert parse_duration("2562047h47m16s") == 2562047 * 3600 + 47 * 60 + 16


def test_a_message_is_one_short_line() -> None:
    with pytest.raises(DurationError) as refused:
        parse_duration("a\nb\x1b[31m" * 50)
    assert "\n" not in str(refused.value)
    assert "\x1b" not in str(refused.value)
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.3, "300ms"),
        (0.0000014, "1us"),
        (0.001500, "1ms500us"),
        (0.9999999, "1s"),
        (1, "1s"),
        (1.5, "1.5s"),
        (59.9999999, "1m"),
        (60, "1m"),
        (5400, "1h30m"),
        (3600.25, "1h0.25s"),
        (300, "5m"),
        (86400, "24h"),
        (12.345678, "12.345678s"),
    ],
)
def test_durations_are_written_without_parts_that_are_zero(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(min_value=0, max_value=10**15))
@example(999_999)
@example(59_999_999)
@example(3_599_999_999)
def test_what_is_written_is_read_back_to_the_microsecond(microseconds: int) -> None:
    assert round(parse_duration(format_duration(microseconds / 1e6)) * 1e6) == microseconds


@given(st.text())
def test_any_text_gives_seconds_or_a_duration_error(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except DurationError:
        return
    assert seconds >= 0


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan"), 2**63])
def test_what_is_no_duration_is_not_written(seconds: float) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        format_duration(seconds)


@pytest.mark.parametrize("module", ["model.spec", "jcard.problems", "text.durations"])
def test_the_modules_that_every_command_imports_stay_light(module: str) -> None:
    code = f"import sys, agentd.{module}; print([m for m in ('pydantic', 'tomlkit', 'asyncio') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
