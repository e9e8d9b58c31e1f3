"""What workers printed."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote as quote_url

from agentd.api.client.socket import JsonObject, RefusedError, UnreachableError
from agentd.files.worker import in_thread
from agentd.model.run_view import RunView
from agentd.pool.errors import Code, PoolError
from agentd.pool.pool import Pool, unreachable
from agentd.pool.results.work import TranscriptPage
from agentd.text.quoting import printable

MOST_LINES: Final = 1000
"""In one page."""

_BLOCK: Final = 1 << 20
"""Bytes read at once."""

_MOST: Final = 64 << 20
"""Bytes of a run that are read, from its end."""


async def transcript(
    pool: Pool, worker: str, offset: int | None = None, limit: int = 200, tail_lines: int | None = None
) -> TranscriptPage:
    """Read lines that a worker printed in its last run, as a person would see them.

    Parameters
    ----------
    offset
        Number of the first line; ``None`` begins with the first, or with `tail_lines` that many before the last.

    Raises
    ------
    PoolError
        If there is no such worker.
    """
    if limit < 1 or (offset is not None and offset < 0):
        message = "expected an offset from 0 and a limit from 1"
        raise PoolError(Code.INVALID_ARGUMENT, message, f"agentctl transcript {worker} --tail-lines 50")
    if offset is not None and tail_lines is not None:
        message = "tail_lines: these are the end, and offset begins a page; leave one of them out"
        raise PoolError(Code.INVALID_ARGUMENT, message, f"agentctl transcript {worker} --tail-lines 50")
    name, lines = await _lines(pool, worker)
    if offset is None:
        offset = 0 if tail_lines is None else max(0, len(lines) - tail_lines)
        limit = limit if tail_lines is None else max(tail_lines, 1)
    page = lines[offset : offset + min(limit, MOST_LINES)]
    end = min(offset, len(lines)) + len(page)
    return TranscriptPage(name, page, offset, end, len(lines), has_more=end < len(lines))


async def last_lines(pool: Pool, worker: str, count: int) -> list[str]:
    """Return the last lines that a worker printed; none if nothing of it is kept."""
    try:
        _, lines = await _lines(pool, worker)
    except PoolError as error:
        if error.code is Code.UNREACHABLE:
            raise
        return []
    return lines[-count:]


async def _lines(pool: Pool, worker: str) -> tuple[str, list[str]]:
    path = f"/v1/agents/{quote_url(worker, safe='')}"
    found = await pool.api.get_or_none(f"{path}/runs")
    runs = [each for each in (found if isinstance(found, list) else []) if isinstance(each, dict)]
    if not runs:
        why = "it has not run yet, or agentd runs with --transcripts off"
        raise PoolError(Code.NOT_FOUND, f"{worker} has no transcript: {why}", "agentctl workers", worker=worker)
    run = runs[-1]
    data = await _read(pool, path, run)
    return str(run.get("agent")), await in_thread("pool-render", lambda: _rendered(run, data))


async def _read(pool: Pool, path: str, run: JsonObject) -> list[bytes]:
    first, end = _whole(run, "first_byte"), _whole(run, "end_byte")
    start, data = max(first, end - _MOST), []
    while start < end:
        limit = str(min(_BLOCK, end - start))
        query = {"raw": "1", "run": str(_whole(run, "run")), "offset": str(start), "limit": limit}
        try:
            part = await pool.api.socket.read(f"{path}/log", query)
        except UnreachableError as error:
            raise unreachable(error) from error
        except RefusedError as error:
            raise PoolError(Code.REFUSED, str(error), "agentctl status") from error
        if not part:
            break
        start += len(part)
        data.append(part)
    return data


def _rendered(run: JsonObject, data: list[bytes]) -> list[str]:
    # What renders and reads costs 60 ms to import.
    from pydantic import TypeAdapter  # noqa: PLC0415

    from agentd.recording.transcripts.rendering import Rendering  # noqa: PLC0415

    view = TypeAdapter(RunView).validate_python(run)
    rendering = Rendering(view, view.first_byte)
    lines: list[str] = []
    for part in data:
        lines += rendering.feed(part)
    lines += rendering.rest()
    return [printable(line.rstrip()) for line in lines]


def _whole(run: JsonObject, name: str) -> int:
    value = run.get(name)
    return value if isinstance(value, int) else 0
