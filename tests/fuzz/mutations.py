"""Byte strings near good ones: what a crashed editor, a bad disk or an attacker makes of a file or a stream."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

_MOST_CHANGES = 6
_LONGEST_CUT = 200


@st.composite
def mutations(draw: st.DrawFn, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    """Take a seed and change it in a few places: bytes, pieces, tokens of its language, its end."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, _MOST_CHANGES))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, _LONGEST_CUT)))
        change = draw(st.sampled_from(["cut", "token", "bytes", "again", "truncate", "flip"]))
        if change == "cut":
            data = data[:start] + data[end:]
        elif change == "token":
            data = data[:start] + draw(st.sampled_from(tokens)) + data[start:]
        elif change == "bytes":
            data = data[:start] + draw(st.binary(max_size=8)) + data[end:]
        elif change == "again":
            data = data[:end] + data[start:]
        elif change == "truncate":
            data = data[:start]
        elif start < len(data):
            data = data[:start] + bytes([data[start] ^ 1 << draw(st.integers(0, 7))]) + data[start + 1 :]
    return data
