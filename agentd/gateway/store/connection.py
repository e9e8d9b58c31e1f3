"""What statements are executed on, whichever the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from sqlalchemy import CursorResult
from sqlalchemy.sql import Executable

Parameters: TypeAlias = Sequence[Mapping[str, object]] | Mapping[str, object]


class Connection(Protocol):
    """Executes statements, one after the other."""

    async def execute(self, statement: Executable, parameters: Parameters | None = None) -> CursorResult[Any]:
        """Execute a statement; with several parameters, once for each."""
        ...
