"""What is wrong with JSON of another form than expected, in a line."""

from __future__ import annotations

from pydantic import ValidationError


def first_fault(error: ValidationError) -> str:
    """Say where the first fault is, and which; what was found there is not shown: it may be a secret."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the start'}: {first['msg']}"
