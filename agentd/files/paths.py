"""Paths that are made of the same text again and again."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=256)
def path_of(text: str) -> Path:
    """Give the path of a text.

    Kept: taking one apart takes 5 µs, and every launch asks for its home and its workdir.
    """
    return Path(text)
