"""Readers of arguments that several commands take."""

from __future__ import annotations

import argparse


def duration(text: str) -> float:
    """Read a duration such as ``30s``, in seconds."""
    from agentd.jcard.durations import DurationError, parse_duration

    try:
        return parse_duration(text)
    except DurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
