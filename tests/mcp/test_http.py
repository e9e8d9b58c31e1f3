"""The server by HTTP: who is let in."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from http import HTTPStatus
from pathlib import Path

import aiohttp
import pytest

from agentd.mcp.address import Address
from tests.mcp.serving import http_server
from tests.support.daemon import Daemon, program


@pytest.mark.parametrize("text", ["0.0.0.0:80", "192.0.2.1:80", "example.org:80", "127.0.0.1", "127.0.0.1:99999"])
def test_it_listens_on_loopback_alone(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        Address.parse(text)


@pytest.mark.parametrize("text", ["127.0.0.1:0", "localhost:80", "[::1]:80", "127.8.8.8:1"])
def test_loopback_has_many_names(text: str) -> None:
    assert Address.parse(text).port == int(text.rpartition(":")[2])


PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


async def test_only_callers_with_the_token_are_let_in(daemon: Daemon) -> None:
    with http_server(daemon, AGENTD_MCP_TOKEN="t0ken") as http:
        assert "t0ken" not in http.log
        async with aiohttp.ClientSession(headers=HEADERS) as client:

            async def status(**headers: str) -> int:
                async with client.post(http.url, json=PING, headers=headers) as answer:
                    return answer.status

            for wrong in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Basic t0ken"}):
                assert await status(**wrong) == HTTPStatus.UNAUTHORIZED
            assert await status(Authorization="bearer t0ken") != HTTPStatus.UNAUTHORIZED
            foreign = {"Authorization": "Bearer t0ken", "Origin": "http://example.org"}
            assert await status(**foreign) == HTTPStatus.FORBIDDEN
            rebound = {"Authorization": "Bearer t0ken", "Host": "example.org"}
            assert await status(**rebound) == HTTPStatus.MISDIRECTED_REQUEST


@pytest.mark.parametrize("wrong", ["--toolsets=nope", "--tools=nope", "--http=0.0.0.0:80"])
def test_why_it_does_not_start_is_said_as_other_errors_are(wrong: str) -> None:
    done = subprocess.run([program("agentctl"), "mcp", wrong, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert (error["code"], error["details"]) == ("usage", {"example": "agentctl mcp --help"})
    assert error["message"] in done.stderr


def test_without_a_token_one_is_made_and_kept(daemon: Daemon) -> None:
    with http_server(daemon) as http:
        found = re.search(r"the token stands in (\S+)", http.log)
        assert found is not None
        file = Path(found[1])
        token = file.read_text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert token.strip() not in http.log
    with http_server(daemon):
        assert file.read_text() == token
