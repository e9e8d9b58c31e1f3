from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.text.sizes import UNITS, SizeError, format_size, parse_size


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (1, 1),
        (4096, 4096),
        ("4096", 4096),
        ("4096B", 4096),
        ("1KiB", 1024),
        ("2MiB", 2 * 1024**2),
        ("2GiB", 2 * 1024**3),
        ("2 GiB", 2 * 1024**3),
        ("1KB", 1000),
        ("1MB", 10**6),
        ("1GB", 10**9),
        ("1.5GiB", 1536 * 1024**2),
        ("0.5KiB", 512),
        ("2gib", 2 * 1024**3),
        ("2GB", 2 * 10**9),
        ("1kB", 1000),
        ("12b", 12),
    ],
)
def test_sizes_are_read_as_bytes(value: str | int, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize(
    "value",
    ["", "GiB", "-1GiB", "1TiB", "1e3", "1.5", "1.5B", "٣GiB", "2GiB\n", "2  GiB", "0x10", "1_000", "1,5GiB", True],
)
def test_what_is_no_size_is_refused_with_an_example(value: str | int) -> None:
    with pytest.raises(SizeError, match='expected a size such as "2GiB"'):
        parse_size(value)


@pytest.mark.parametrize("value", [0, -1, "0", "0GiB", "0.0001KiB", 2**63, "99999999999GiB", 16**3000])
def test_sizes_out_of_range_are_refused(value: str | int) -> None:
    with pytest.raises(SizeError, match="expected at least 1 byte"):
        parse_size(value)


@pytest.mark.parametrize(
    ("found", "meant"),
    [
        ("2G", "2GiB"),
        ("2g", "2GiB"),
        ("512m", "512MiB"),
        (" 2GiB ", "2GiB"),
    ],
)
def test_a_size_in_another_notation_is_answered_with_ours(found: str, meant: str) -> None:
    with pytest.raises(SizeError, match=f'did you mean "{meant}"'):
        parse_size(found)
    parse_size(meant)


@given(st.integers(min_value=1, max_value=2**63 - 1))
def test_what_is_written_is_read_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(min_value=1, max_value=10**6), st.sampled_from(sorted(UNITS)))
def test_every_unit_multiplies(number: int, unit: str) -> None:
    assert parse_size(f"{number}{unit}") == number * UNITS[unit]


@given(st.text() | st.integers())
def test_anything_gives_bytes_or_a_size_error(value: str | int) -> None:
    try:
        size = parse_size(value)
    except SizeError:
        return
    assert size >= 1
