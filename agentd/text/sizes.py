"""Memory sizes: ``2GiB``, ``512mb``, or a number of bytes."""

from __future__ import annotations

import re
from typing import Final

from agentd.text.quoting import quote, show

UNITS: Final = {
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "B": 1,
}

SIZE_PATTERN: Final = r"\d{1,15}(\.\d{1,9})? ?[KMGkmg][Ii]?[Bb]|\d{1,19} ?[Bb]?"
"""Units in any case, as in the Go agentd."""

_BY_CASE: Final = {unit.casefold(): size for unit, size in UNITS.items()}
_SIZE: Final = re.compile(
    rf"(?P<number>\d{{1,19}}(\.\d{{1,9}})?) ?(?P<unit>{'|'.join(UNITS)})?", re.ASCII | re.IGNORECASE
)
_LARGEST: Final = 2**63 - 1
_EXPECTED: Final = 'expected a size such as "2GiB", "512MiB", "500MB" or a number of bytes'


class SizeError(ValueError):
    """Not a size; the message says what was found and gives an example."""


def parse_size(value: str | int, least: int = 1) -> int:
    """Parse a size.

    Parameters
    ----------
    value
        As written.
    least
        The smallest size accepted, in bytes.

    Returns
    -------
    int
        Bytes.

    Raises
    ------
    SizeError
        If it is not a whole number of bytes in one of `UNITS` (in any case) or without unit, or is too small.
    """
    if isinstance(value, str):
        size = _from_text(value)
    elif isinstance(value, bool):
        raise _unexpected(value)
    else:
        size = value
    if not least <= size <= _LARGEST:
        raise SizeError(
            f"found {show(value)}, expected at least {least} byte{'' if least == 1 else 's'} and less than 2^63"
        )
    return size


def format_size(size: int) -> str:
    """Write `size`, in bytes, in the largest binary unit that is exact."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % UNITS[unit] == 0:
            return f"{size // UNITS[unit]}{unit}"
    return f"{size}B"


def about(size: int) -> str:
    """Write bytes for people: with one decimal, in the largest binary unit that they fill."""
    for unit in ("GiB", "MiB", "KiB"):
        if size >= UNITS[unit]:
            return f"{size / UNITS[unit]:.1f}".removesuffix(".0") + unit
    return f"{size}B"


def _from_text(text: str) -> int:
    match = _SIZE.fullmatch(text)
    unit = _BY_CASE[(match["unit"] or "B").casefold()] if match is not None else 0
    if match is None or (unit == 1 and "." in match["number"]):
        raise _unexpected(text)
    from decimal import Decimal  # noqa: PLC0415 (agentctl writes sizes, and reads them rarely)

    return int(Decimal(match["number"]) * unit)


def _unexpected(value: str | bool) -> SizeError:
    message = f"found {show(value)}, {_EXPECTED}"
    if isinstance(value, str):
        close = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg])(i?)b?\s*", value, re.ASCII | re.IGNORECASE)
        if close is not None:
            unit = close[2].upper() + ("iB" if close[3] or value.strip()[-1] not in "bB" else "B")
            message += f"; did you mean {quote(close[1] + unit)}?"
    return SizeError(message)
