"""Timestamps: read as they were written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentd.text.timestamps import from_rfc3339, rfc3339


@given(st.integers(0, 2**33))
def test_a_time_is_read_as_it_was_written(seconds: int) -> None:
    assert from_rfc3339(rfc3339(seconds)) == seconds
