"""Ids of traces and spans, made of the ids of what they are about, so that they are the same after a restart. Pure."""

from __future__ import annotations

import hashlib


def trace_id(run: str) -> int:
    """The trace of a run: 128 bits, never 0."""
    return _number(16, "trace", run)


def run_span_id(run: str) -> int:
    """The span of a run: 64 bits, never 0."""
    return _number(8, "run", run)


def turn_span_id(run: str, turn: str, number: int) -> int:
    """The span of a turn.

    Parameters
    ----------
    number
        Tells it from another turn of the same id.
    """
    return _number(8, "turn", run, turn, str(number))


def tool_span_id(turn_span: int, tool: str, number: int) -> int:
    """The span of the use of a tool in a turn."""
    return _number(8, "tool", str(turn_span), tool, str(number))


def _number(length: int, *parts: str) -> int:
    # What a harness calls a turn may hold anything; the length of each part keeps them apart.
    text = "".join(f"{len(part)}:{part}" for part in ("agentd", *parts))
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:length]
    return int.from_bytes(digest, "big") or 1
