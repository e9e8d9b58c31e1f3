"""``GET /v1/agents/{name}/log``: what a run of an agent printed."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from aiohttp import hdrs, web

from agentd.api.query import FLAGS, QueryError, flag, only, whole_number, wrong
from agentd.api.responses import error_response, json_response
from agentd.api.route import AGENT_NAME, SOURCE, Parameter, Route
from agentd.api.streams import stream
from agentd.api.views import RUNS
from agentd.model.run_view import RunView
from agentd.recording.transcripts.readable import TooSlowError
from agentd.recording.transcripts.reader import Extent, TranscriptReader
from agentd.recording.transcripts.rendering import Rendering
from agentd.recording.transcripts.run_folder import RunFolder, TranscriptError
from agentd.recording.transcripts.run_metadata import RunMetadata

READER: web.AppKey[TranscriptReader] = web.AppKey("transcript_reader")

RAW = "application/octet-stream"
TEXT = "text/plain; charset=utf-8"
RUN_HEADER = "Agentd-Run"
"""Response header: the run's number."""
OFFSET_HEADER = "Agentd-Offset"
"""Response header: offset in the run's whole output of the first byte that the answer is about."""
END_HEADER = "Agentd-End"
"""Response header: offset after the last byte there was when the answer began."""

_RENDERED = 256 * 1024
"""Bytes from the end of a run that are made readable here: 0.15 s of a thread, for a page of text ten times as long as
anybody reads. Whoever wants more takes the raw bytes and makes them readable themselves, as agentctl does."""
_RENDERED_A_LINE = 400
"""Bytes for each line that is asked for, at first."""
_RENDERED_LEAST = 32 * 1024
_RENDER_LIMIT = 1.0
"""Seconds of CPU for it: several times what anything but an attempt to keep the daemon busy takes."""
_RUN = re.compile(r"previous|[0-9]{1,9}")
_RANGE = re.compile(r"bytes=([0-9]{1,15})-([0-9]{0,15})|bytes=-([0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class _Query:
    run: str | None
    tail: int | None
    offset: int | None
    limit: int | None
    raw: bool
    follow: bool


def _parse(query: Mapping[str, str]) -> _Query:
    only(query, QUERY)
    run = query.get("run")
    if run is not None and not _RUN.fullmatch(run):
        raise wrong("run", "the number of a run, or previous", run)
    parsed = _Query(
        run,
        whole_number(query, "tail"),
        whole_number(query, "offset"),
        whole_number(query, "limit"),
        raw=flag(query, "raw"),
        follow=flag(query, "follow"),
    )
    if parsed.tail is not None and parsed.offset is not None:
        raise QueryError("tail and offset both say where to begin: leave one of them out")
    if not parsed.raw and (parsed.offset is not None or parsed.limit is not None):
        raise QueryError("offset and limit count raw bytes: add raw=1, or use tail")
    return parsed


async def _runs(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    known = request.app[SOURCE].agent(name)
    try:
        extents = await request.app[READER].runs(name if known is None else known.name)
    except TranscriptError as error:
        return error_response(HTTPStatus.NOT_FOUND, str(error))
    if known is None and not extents:
        return error_response(HTTPStatus.NOT_FOUND, "agent not found")
    return json_response(RUNS.encode([_view(extent) for extent in extents]))


def _view(extent: Extent) -> RunView:
    metadata = extent.metadata
    return RunView(
        agent=metadata.agent,
        run=metadata.run,
        run_id=metadata.run_id,
        harness=metadata.harness,
        workdir=metadata.workdir,
        argv=metadata.argv,
        start=metadata.start,
        end=metadata.end,
        exit_code=metadata.exit_code,
        exit_signal=metadata.exit_signal,
        reason=metadata.reason,
        first_byte=extent.first,
        end_byte=extent.end,
        columns=metadata.columns,
        rows=metadata.rows,
        gaps=metadata.gaps,
        sizes=metadata.sizes,
    )


async def _log(request: web.Request) -> web.StreamResponse:
    try:
        query = _parse(request.query)
    except QueryError as error:
        return error_response(HTTPStatus.BAD_REQUEST, str(error))
    reader = request.app[READER]
    name = request.match_info["name"]
    known = request.app[SOURCE].agent(name)
    try:
        folder, extent = await reader.find(name if known is None else known.name, query.run)
    except TranscriptError as error:
        # Of an agent that is declared no more, what is kept is still there.
        return error_response(HTTPStatus.NOT_FOUND, "agent not found" if known is None else str(error))
    if query.raw:
        return await _raw(request, reader, folder, extent, query)
    return await _text(request, reader, folder, extent, query)


async def _raw(
    request: web.Request, reader: TranscriptReader, folder: RunFolder, extent: Extent, query: _Query
) -> web.StreamResponse:
    span = None
    if query.offset is None and query.tail is None and query.limit is None and not query.follow:
        span = _range(request, extent)
    if span is not None and span[0] >= span[1]:
        unsatisfied: dict[str, str] = {hdrs.CONTENT_RANGE: f"bytes */{extent.end}"}
        kept = f"bytes {extent.first} to {extent.end - 1} are kept" if extent.end > extent.first else "nothing is kept"
        return error_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, f"of this run {kept}", unsatisfied)
    if span is not None:
        headers = {**_headers(extent, span[0]), hdrs.CONTENT_RANGE: f"bytes {span[0]}-{span[1] - 1}/{extent.end}"}
        pieces = reader.pieces(folder, extent, *span, follow=False)
        return await stream(request, pieces, RAW, status=HTTPStatus.PARTIAL_CONTENT, headers=headers)
    start = await _start(reader, folder, extent, query)
    end = None if query.limit is None else start + query.limit
    if not query.follow:
        end = extent.end if end is None else min(end, extent.end)
    pieces = reader.pieces(folder, extent, start, end, follow=query.follow)
    return await stream(request, pieces, RAW, headers=_headers(extent, start))


async def _start(reader: TranscriptReader, folder: RunFolder, extent: Extent, query: _Query) -> int:
    if query.tail is not None:
        return await reader.start_of_lines(folder, extent, query.tail)
    if query.offset is not None:
        return min(max(query.offset, extent.first), extent.end)
    return extent.first


def _range(request: web.Request, extent: Extent) -> tuple[int, int] | None:
    """The one range of a ``Range`` header; what is no such thing does not count (RFC 9110, 14.2)."""
    match = _RANGE.fullmatch(request.headers.get(hdrs.RANGE, ""))
    if match is None:
        return None
    if match[3] is not None:
        return max(extent.first, extent.end - int(match[3])), extent.end
    start, end = int(match[1]), extent.end
    if match[2]:
        if int(match[2]) < start:
            return None
        end = min(end, int(match[2]) + 1)
    return (start, end) if start >= extent.first else (0, 0)


def _headers(extent: Extent, start: int) -> dict[str, str]:
    return {
        RUN_HEADER: str(extent.metadata.run),
        OFFSET_HEADER: str(start),
        END_HEADER: str(extent.end),
        hdrs.ACCEPT_RANGES: "bytes",
    }


async def _text(
    request: web.Request, reader: TranscriptReader, folder: RunFolder, extent: Extent, query: _Query
) -> web.StreamResponse:
    start = max(extent.first, extent.end - _RENDERED)
    if query.follow:
        pieces = _followed(reader, folder, extent, start, query.tail)
        return await stream(request, pieces, TEXT, headers=_headers(extent, start))
    if query.tail is not None:
        start = max(start, extent.end - max(_RENDERED_LEAST, query.tail * _RENDERED_A_LINE))
    lines = await _rendered(reader, folder, extent, start)
    if lines is not None and query.tail is not None and len(lines) < query.tail + extent.metadata.rows:
        # Lines longer than most, or a program that draws them again and again.
        start = max(extent.first, extent.end - _RENDERED)
        lines = await _rendered(reader, folder, extent, start)
    if lines is None:
        return error_response(
            HTTPStatus.SERVICE_UNAVAILABLE, "making this readable takes too long: take it with raw=1, or a shorter tail"
        )
    text = _joined(_last(lines, query.tail))
    return web.Response(text=text, content_type="text/plain", charset="utf-8", headers=_headers(extent, start))


async def _rendered(reader: TranscriptReader, folder: RunFolder, extent: Extent, start: int) -> list[str] | None:
    raw = b"".join([piece async for piece in reader.pieces(folder, extent, start, extent.end, follow=False)])
    return await reader.do(partial(_render, extent.metadata, start, raw))


def _render(metadata: RunMetadata, start: int, raw: bytes) -> list[str] | None:
    """Make bytes readable; ``None`` if that takes too long."""
    rendering = Rendering(metadata, start, effort=_RENDER_LIMIT)
    try:
        return rendering.feed(raw) + rendering.rest()
    except TooSlowError:
        return None


def _settled(rendering: Rendering, raw: bytes) -> list[str]:
    """Take bytes, and give the lines that nothing is likely to change any more."""
    try:
        return rendering.feed(raw) + rendering.settled()
    except TooSlowError:
        return ["[agentd] a part that takes too long to be made readable was left out; take it with raw=1"]


def _joined(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


async def _followed(
    reader: TranscriptReader, folder: RunFolder, extent: Extent, start: int, tail: int | None
) -> AsyncGenerator[bytes, None]:
    """Give lines once they are finished, from the last `tail` of those there are."""
    rendering = await reader.do(partial(Rendering, extent.metadata, start, effort=_RENDER_LIMIT))
    position, kept, caught_up = start, list[str](), start >= extent.end
    known = extent
    async for piece in reader.pieces(folder, extent, start, None, follow=True):
        if position >= known.end and piece:
            with contextlib.suppress(TranscriptError):
                known = await reader.extent(folder)
            rendering.learn(known.metadata)
        lines = await reader.do(partial(_settled, rendering, piece))
        position += len(piece)
        if not caught_up:
            kept += lines
            if position < extent.end:
                continue
            caught_up, lines = True, _last(kept, tail)
        if lines:
            yield _joined(lines).encode()
    lines = rendering.rest()
    if lines:
        yield _joined(lines if caught_up else _last(kept + lines, tail)).encode()


def _last(lines: list[str], tail: int | None) -> list[str]:
    return lines if tail is None else lines[max(0, len(lines) - tail) :]


QUERY: Mapping[str, Parameter] = {
    "run": Parameter(
        "Number of the run, or `previous` for the one before the newest; the newest if left out.",
        {"type": "string", "pattern": f"^({_RUN.pattern})$"},
    ),
    "tail": Parameter(
        "Only the last so many lines; in raw output what is between line feeds.", {"type": "integer", "minimum": 0}
    ),
    "offset": Parameter(
        "With `raw=1`: where to begin, in bytes of the run's whole output. What is not kept any more is skipped.",
        {"type": "integer", "minimum": 0},
    ),
    "limit": Parameter("With `raw=1`: at most so many bytes.", {"type": "integer", "minimum": 0}),
    "raw": Parameter(
        "1: the bytes as the agent printed them; `Range` is honoured. Else as a person would read them, from the last "
        f"{_RENDERED // 1024} KiB.",
        {"type": "string", "enum": list(FLAGS)},
    ),
    "follow": Parameter(
        "1: go on with what is printed from now on, until the run ends.", {"type": "string", "enum": list(FLAGS)}
    ),
}

RUNS_ROUTE = Route(
    "/v1/agents/{name}/runs",
    "listRuns",
    "The runs of an agent whose transcripts are kept, oldest first",
    _runs,
    RUNS,
    parameters=AGENT_NAME,
    errors={HTTPStatus.NOT_FOUND: "There is no agent of this name, and nothing of one is kept."},
)
LOG_ROUTE = Route(
    "/v1/agents/{name}/log",
    "getLog",
    "What a run of an agent printed",
    _log,
    None,
    texts={
        TEXT: "Terminal control sequences are interpreted, colours left out.",
        RAW: "With `raw=1`: the bytes as they were printed.",
    },
    parameters=AGENT_NAME,
    query=QUERY,
    errors={
        HTTPStatus.BAD_REQUEST: "A parameter cannot be used.",
        HTTPStatus.NOT_FOUND: "There is no agent of this name, or nothing of this run is kept.",
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: "Nothing of the range is kept.",
    },
)
