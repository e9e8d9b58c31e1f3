"""Letting a fault last."""

from __future__ import annotations

import time


def pause(seconds: float) -> None:
    """Let so many seconds pass: how long something lasts is a part of the fault."""
    time.sleep(seconds)
