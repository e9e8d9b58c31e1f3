"""What a tool answers when it cannot do what it was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pydantic import JsonValue

from agentd.pool.errors import Code, PoolError


class ToolError(Exception):
    """A tool's failure, as its caller is told of it.

    Parameters
    ----------
    code
        What went wrong, in a word for programs.
    message
        What was expected, what was found, and what to do, in agentd's words.
    details
        More of it, of agentd's own.
    quoted
        What a worker wrote that belongs to it.
    """

    def __init__(
        self, code: str, message: str, details: Mapping[str, JsonValue] | None = None, quoted: str | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.details = dict(details or {})
        self.quoted = quoted


_NOT_OURS = frozenset({Code.REFUSED, Code.FAILED, Code.CONFLICT})
"""Their words may hold what a worker wrote: the ids of its requests, what it holds leases on."""


@contextmanager
def refusals() -> Iterator[None]:
    """Tell what the library refuses as the failure of a tool.

    Raises
    ------
    ToolError
        In its place.
    """
    try:
        yield
    except PoolError as error:
        if error.code in _NOT_OURS:
            raise ToolError(error.code, "that could not be done", quoted=str(error)) from error
        raise ToolError(error.code, str(error), error.details) from error
