"""What the commands about workers share: they run an operation of the pool, and print what it answers."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from agentd.cli.agentctl.command import CommandError, Invocation, Status

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from agentd.pool.errors import PoolError
    from agentd.pool.pool import Pool

R = TypeVar("R")


class PooledError(CommandError):
    """An operation on workers was refused."""

    def __init__(self, error: PoolError) -> None:
        super().__init__(f"{error}; next: {error.details['example']}")
        self.document = error.json()
        self.status = Status.UNREACHABLE if error.code == "agentd_unreachable" else Status.FAILED


def run_pool(invocation: Invocation, operation: Callable[[Pool], Awaitable[R]]) -> R:
    """Run an operation.

    Raises
    ------
    PooledError
        If it is refused.
    """
    import asyncio
    import os

    from agentd.settings.lean_imports import import_aiohttp_without_certificates, import_structlog_alone

    import_aiohttp_without_certificates()
    import_structlog_alone()
    from agentd.pool.errors import PoolError
    from agentd.pool.pool import Pool

    async def run() -> R:
        async with Pool(invocation.settings, os.environ) as pool:
            return await operation(pool)

    try:
        return asyncio.run(run())
    except PoolError as error:
        raise PooledError(error) from None


def print_pooled(invocation: Invocation, result: DataclassInstance, lines: Iterable[str]) -> None:
    """Print a result; as JSON on one line, for programs that pay for each character: it is a third shorter."""
    if not invocation.as_json:
        invocation.print(lines)
        return
    from agentd.pool.results.common import document

    invocation.print_document(document(result), line=True)


def comma_list(choices: Iterable[str]) -> Callable[[str], list[str]]:
    """Parse names with commas between."""
    known = [str(each) for each in choices]

    def parse(text: str) -> list[str]:
        found = [each.strip() for each in text.split(",") if each.strip()]
        for each in found:
            if each not in known:
                raise argparse.ArgumentTypeError(f"found {each!r}, expected some of {','.join(known)}")
        return found

    return parse
