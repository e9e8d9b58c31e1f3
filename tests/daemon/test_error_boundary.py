"""What becomes of errors that nobody expected, while files are read."""

from __future__ import annotations

import asyncio

import pytest

from agentd.daemon.configuration import Configuration
from agentd.daemon.error_boundary import ErrorBoundary

GOOD = Configuration(files=(), warnings=("old news",), desired=())


@pytest.mark.parametrize(
    "error", [ModuleNotFoundError("no module s3cret"), RuntimeError("s3cret"), KeyError("s3cret")], ids=repr
)
def test_an_unexpected_error_is_told_once_and_its_end_as_well(error: Exception) -> None:
    answers: list[Configuration | Exception | None] = [GOOD, error, error, None, error, GOOD]

    async def read() -> Configuration | None:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def follow() -> list[Configuration | None]:
        reader, told, current = ErrorBoundary(read), list[Configuration | None](), None
        while answers:
            told.append(await reader.next_change(current))
            current = told[-1] or current
        return told

    first, failed, again, recovered, failed_anew, changed = asyncio.run(follow())
    assert first == recovered == changed == GOOD
    assert again is None
    assert failed is not None
    assert failed == failed_anew
    assert not failed.valid
    # Nothing is declared by it, so agents stay as they are.
    assert failed.desired is None
    assert failed.warnings == GOOD.warnings
    assert type(error).__name__ in (failed.error or "")
    assert "s3cret" not in (failed.error or "")


def test_the_first_reading_may_fail_as_well() -> None:
    async def read() -> Configuration | None:
        raise ImportError

    told = asyncio.run(ErrorBoundary(read).next_change(None))
    assert told is not None
    assert not told.valid
    assert told.desired is None
