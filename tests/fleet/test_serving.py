from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from agentd.api.socket_file import ApiSocket
from agentd.fleet.serving import serve
from tests.support.leaving import LateWrite


async def test_a_client_that_goes_before_it_is_answered_is_no_defect(
    short_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    late, path = LateWrite(), short_folder / "fleet.sock"
    app = web.Application()
    app.add_routes([late.route()])
    async with (
        ApiSocket(path, None, lambda bound: serve(app, bound)).answering(),
        aiohttp.ClientSession("http://fleet", connector=aiohttp.UnixConnector(str(path))) as client,
    ):
        await late.leave(path)
        async with client.put("/late", headers={"Content-Length": "0"}) as answer:
            assert answer.status == 200
    assert caplog.records == []
