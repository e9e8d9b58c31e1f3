"""What each path answers."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

import agentd
from tests.api.memory_source import BACKING_OFF, RUNNING, SANDBOX, MemorySource, ask

PATHS = ["/v1/health", "/v1/agents", "/v1/agents/reviewer-0", "/v1/plan", "/v1/openapi.json"]


async def test_health_is_the_document_the_contract_shows(client: aiohttp.ClientSession) -> None:
    async with client.get("/v1/health") as answer:
        assert answer.status == 200
        assert await answer.json() == {
            "state": "running",
            "uptime_seconds": 123,
            "version": "0.1.0",
            "pid": 4242,
            "config": {
                "path": "/etc/stereos/jcard.toml",
                "valid": True,
                "error": None,
                "warnings": [],
                "loaded_at": "2026-01-31T09:00:00Z",
                "digest": "0" * 64,
                "files": [
                    {
                        "path": "/etc/stereos/jcard.toml",
                        "valid": True,
                        "error": None,
                        "warnings": [],
                        "agents": 1,
                        "loaded_at": "2026-01-31T09:00:00Z",
                        "digest": "0" * 64,
                    },
                    {
                        "path": "/etc/stereos/jcard.d/ops/wächter.toml",
                        "valid": False,
                        "error": "no",
                        "warnings": ["hm"],
                        "agents": 2,
                        "loaded_at": None,
                        "digest": None,
                    },
                ],
            },
            "agents": {"total": 3, "running": 2, "failed": 0},
            "recording": {
                "transcripts": {"state": "off", "error": None, "bytes": 0, "lost": 0},
                "journal": {"state": "ok", "error": None, "bytes": 4096, "lost": 2},
            },
            "slow_reads": [{"path": "/mnt/share", "seconds": 12}],
            "problem": None,
        }


async def test_an_agent_is_the_document_the_contract_shows(client: aiohttp.ClientSession) -> None:
    async with client.get("/v1/agents/reviewer-0") as answer:
        assert answer.status == 200
        assert await answer.json() == {
            "name": "reviewer-0",
            "running": True,
            "session": "reviewer-0",
            "restarts": 1,
            "type": "native",
            "harness": "claude-code",
            "state": "running",
            "pid": 51877,
            "started_at": "2026-01-31T09:00:03Z",
            "uptime_seconds": 120,
            "exit_code": None,
            "exit_signal": None,
            "exit_reason": None,
            "oom_kills": 0,
            "error": None,
            "next_restart_at": None,
            "deadline": None,
            "workdir": "/home/agent/workspace",
            "limits": None,
            "model": "opus",
            "command": None,
            "worktree": None,
            "sandbox": None,
            "recording": None,
            "pane": "%7",
            "pane_pid": 51870,
            "owner": None,
            "source": "/etc/stereos/jcard.toml",
            "activity": "waiting_permission",
            "activity_since": "2026-01-31T09:01:00Z",
            "activity_source": "hooks",
            "activity_text": "rm -r build",
            "conversation": "5c1b1de5-2624-42c5-802e-e19ebb88b858",
            "usage_limit": None,
            "stalled": None,
            "budget": {
                "on_breach": "pause",
                "bounds": [
                    {
                        "name": "usd",
                        "limit": 5.0,
                        "used": 1.25,
                        "source": "claude-code's status line",
                        "told_at": "2026-01-31T09:01:00Z",
                        "resets_at": None,
                    },
                    {
                        "name": "day",
                        "limit": 40.0,
                        "used": 7.5,
                        "source": "claude-code's status line",
                        "told_at": "2026-01-31T09:01:00Z",
                        "resets_at": "2026-02-01T00:00:00Z",
                    },
                    {
                        "name": "turns",
                        "limit": 50.0,
                        "used": 12.0,
                        "source": "agentd",
                        "told_at": None,
                        "resets_at": None,
                    },
                ],
                "breached": False,
                "reason": None,
            },
            "ports": {"PORT": 20123},
            "held_change": None,
            "queued": None,
            "next_start_at": None,
            "priority": 0,
        }


async def test_agents_is_an_array_in_the_order_of_the_source(client: aiohttp.ClientSession) -> None:
    async with client.get("/v1/agents") as answer:
        assert await answer.json() == [asdict(BACKING_OFF), asdict(RUNNING)]


async def test_no_agents_are_an_empty_array(client: aiohttp.ClientSession, source: MemorySource) -> None:
    source.statuses.clear()
    async with client.get("/v1/agents") as answer:
        assert await answer.json() == []


async def test_every_answer_shows_the_moment_it_is_asked_for(
    client: aiohttp.ClientSession, source: MemorySource
) -> None:
    for uptime in (1, 2):
        source.statuses[:] = [replace(RUNNING, uptime_seconds=uptime)]
        async with client.get("/v1/agents") as answer:
            assert (await answer.json())[0]["uptime_seconds"] == uptime


async def test_the_plan_shows_operations_and_what_they_are_computed_from(client: aiohttp.ClientSession) -> None:
    async with client.get("/v1/plan") as answer:
        plan = await answer.json()
    restart, start = plan["operations"]
    expected = {"action": "restart", "agent": "reviewer-0", "reason": "the model changed", "fields": ["model"]}
    assert restart == {**expected, "source": None, "sandbox": None, "sandbox_before": None, "waits": ["working"]}
    assert start["sandbox"] == asdict(SANDBOX)
    assert plan["observed"][0]["launch"] == {"argv": "c0ffee"}
    assert plan["observed"][0]["policy"] == {"restart": "no", "success_exit_codes": [0]}
    assert plan["observed"][1] == {
        "name": "nightly",
        "state": "pending",
        "launch": None,
        "policy": None,
        "source": "/etc/stereos/jcard.d/ops/wächter.toml",
        "sandbox": asdict(SANDBOX),
        "use": [],
        "ports": {},
    }
    assert plan["default_workdir"] == "/home/agent/workspace"


async def test_the_document_carries_the_version_of_the_package(client: aiohttp.ClientSession) -> None:
    async with client.get("/v1/openapi.json") as answer:
        assert (await answer.json())["info"]["version"] == agentd.__version__


@pytest.mark.parametrize(
    "target",
    [
        "/v1/agents/REVIEWER-0",
        "/v1/agents/Reviewer-0",
        "/v1/agents/%72eviewer%2D0",
        "/v1/agents/reviewer-0?pretty=1",
        "http://other.example/v1/agents/reviewer-0",
    ],
)
async def test_one_agent_is_found_by_any_spelling_of_its_name(api: Path, target: str) -> None:
    answer = await ask(api, "GET", target)
    assert answer.status == 200
    assert answer.json == asdict(RUNNING)


async def test_a_name_with_a_dot_and_letters_beyond_ascii_is_found_percent_encoded(
    client: aiohttp.ClientSession,
) -> None:
    async with client.get(URL("/v1/agents/w%C3%84chter_%CE%A9%2e2", encoded=True)) as answer:
        assert await answer.json() == asdict(BACKING_OFF)


@pytest.mark.parametrize(
    "name", ["nobody", "reviewer", "reviewer-0%20", "a%2Fb", "..", ".", "a.b", "%FF", "%00", "%", "*"]
)
async def test_an_unknown_agent_is_404_in_the_words_of_the_contract(api: Path, name: str) -> None:
    answer = await ask(api, "GET", f"/v1/agents/{name}")
    assert answer.status == 404
    assert answer.body == b'{"error":"agent not found"}'


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/",
        "/v2/health",
        "/V1/health",
        "/v1/health/",
        "/v1/agents/",
        "/v1/agents/reviewer-0/",
        "/v1/agents/reviewer-0/logs",
        "/v1/agents/%7Bname%7D",
        "//v1/health",
        "/v1//health",
        "/v1/../v1/health",
    ],
)
async def test_an_unknown_path_is_a_json_404(api: Path, path: str) -> None:
    answer = await ask(api, "GET", path)
    assert answer.status == 404
    assert answer.error == "not found; /v1/openapi.json lists what is served"


@pytest.mark.parametrize("path", [*PATHS, "/v1/agents/nobody", "/nothing"])
async def test_head_has_the_headers_of_get_and_no_body(api: Path, path: str) -> None:
    get = await ask(api, "GET", path)
    head = await ask(api, "HEAD", path)
    assert head.status == get.status
    assert head.body == b""
    assert {**head.headers, "date": ""} == {**get.headers, "date": ""}
    assert int(head.headers["content-length"]) == len(get.body)


@pytest.mark.parametrize("path", PATHS)
async def test_answers_are_compact_json_in_utf_8(api: Path, path: str) -> None:
    answer = await ask(api, "GET", path)
    assert answer.headers["content-type"] == "application/json"
    assert answer.body.decode("utf-8") == json.dumps(answer.json, ensure_ascii=False, separators=(",", ":"))


async def test_text_that_is_no_unicode_hides_no_agent(client: aiohttp.ClientSession, source: MemorySource) -> None:
    source.statuses.append(replace(RUNNING, name="odd", error="no such file: caf\udce9 ü"))
    async with client.get("/v1/agents") as answer:
        assert {agent["name"]: agent["error"] for agent in await answer.json()} == {
            "odd": "no such file: caf? ü",
            "reviewer-0": None,
            BACKING_OFF.name: BACKING_OFF.error,
        }


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_reads_the_socket(api: Path) -> None:
    curl = await asyncio.create_subprocess_exec(
        *["curl", "--silent", "--show-error", "--fail", "--unix-socket", str(api), "http://localhost/v1/agents"],
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await curl.communicate()
    assert curl.returncode == 0
    assert [agent["name"] for agent in json.loads(output)] == ["Wächter_Ω.2", "reviewer-0"]
