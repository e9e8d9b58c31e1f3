"""The server as hosts see it, by the SDK's own client in both eras of the protocol, beside a real agentd."""

from __future__ import annotations

import asyncio
import json

import pytest
from mcp.client.session import IncomingMessage
from mcp.client.subscriptions import ResourceUpdated
from mcp.shared.exceptions import MCPError
from mcp_types import ResourceUpdatedNotification, TextResourceContents

from tests.mcp.conftest import Era, called, hosted, refused
from tests.mcp.test_schemas import LIST_LIMIT
from tests.support.agents import jcard
from tests.support.daemon import Daemon

ENDS = "agentd://agents/ends/events"

CANARY = "CANARY-of-a-worker"

ERAS: tuple[Era, ...] = ("auto", "legacy")


@pytest.fixture
def running(daemon: Daemon) -> Daemon:
    """An agentd with one agent, which printed something."""
    daemon.write_jcard(
        jcard({"name": "talker", "harness": "custom", "command": ["sh", "-c", f"echo {CANARY}; exec cat"]})
    )
    daemon.start()
    daemon.wait_state("talker", "running")
    daemon.wait_for(lambda: CANARY in daemon.screen("talker"), what="it has printed")
    return daemon


@pytest.mark.parametrize("era", ERAS)
async def test_a_host_finds_tools_resources_and_prompts(running: Daemon, era: Era) -> None:
    async with hosted(running, era=era) as client:
        assert client.protocol_version == ("2026-07-28" if era == "auto" else "2025-11-25")
        tools = await client.list_tools()
        assert [tool.name for tool in tools.tools][:3] == ["inventory", "get_usage", "spawn_worker"]
        assert (
            len(
                json.dumps(
                    [tool.model_dump(by_alias=True, exclude_none=True, mode="json") for tool in tools.tools],
                    separators=(",", ":"),
                )
            )
            <= LIST_LIMIT
        )
        assert {resource.uri for resource in (await client.list_resources()).resources} == {
            "agentd://onboarding",
            "agentd://skill.md",
        }
        templates = await client.list_resource_templates()
        assert [template.name for template in templates.resource_templates] == ["transcript", "events", "screen"]
        assert [prompt.name for prompt in (await client.list_prompts()).prompts] == ["delegate", "review"]
        filled = await client.get_prompt("delegate", {"task": "say {hi}", "repo": "/srv/r"})
        assert "say {hi}" in str(filled.messages[0].content)
        with pytest.raises(MCPError, match="needs repo"):
            await client.get_prompt("delegate", {"task": "x"})


@pytest.mark.parametrize("part", ["transcript", "events", "screen"])
async def test_what_an_agent_wrote_is_read_between_marks(running: Daemon, part: str) -> None:
    async with hosted(running) as client:
        [contents] = (await client.read_resource(f"agentd://agents/talker/{part}")).contents
        assert isinstance(contents, TextResourceContents)
        first, *_, last = contents.text.splitlines()
        assert first.startswith("<untrusted ")
        assert last == f"</{first[1:]}"
        assert ("launched" if part == "events" else CANARY) in contents.text


async def test_what_there_is_not_is_an_error_that_names_it(running: Daemon) -> None:
    async with hosted(running, "--toolsets=default,agents") as client:
        with pytest.raises(MCPError, match="no resource agentd://none"):
            await client.read_resource("agentd://none")
        with pytest.raises(MCPError, match='"none" has no screen that can be read'):
            await client.read_resource("agentd://agents/none/screen")
        with pytest.raises(MCPError, match="no tool 'none'"):
            await client.call_tool("none", {})
        assert "agent: Field required" in await refused(client, "get_agent")
        assert "lins: Extra inputs are not permitted" in await refused(client, "agent_logs", agent="talker", lins=3)
        assert "no agent" in await refused(client, "get_agent", agent="none")
        assert "expected a name, found '--help'" in await refused(client, "get_agent", agent="--help")


async def test_the_declared_agents_can_be_looked_at(running: Daemon) -> None:
    async with hosted(running, "--toolsets=agents") as client:
        agents = await called(client, "list_agents")
        assert agents == {
            "agents": [{"name": "talker", "state": "running", "harness": "custom", "activity": "unknown"}]
        }
        assert (await called(client, "get_agent", agent="talker"))["session"] == "talker"
        assert CANARY in str((await called(client, "agent_logs", agent="talker", lines=5))["text"])
        assert CANARY in str((await called(client, "agent_screen", agent="talker"))["text"])
        assert await called(client, "plan") == {"operations": []}


async def test_locked_down_nothing_that_an_agent_wrote_is_shown(running: Daemon) -> None:
    async with hosted(running, "--toolsets=agents", env={"AGENTD_MCP_LOCKDOWN": "1"}) as client:
        for tool in ("get_agent", "agent_logs", "agent_screen"):
            assert CANARY not in str(await called(client, tool, agent="talker"))
        for part in ("transcript", "events", "screen"):
            assert CANARY not in str(await client.read_resource(f"agentd://agents/talker/{part}"))
        assert "talker" not in await refused(client, "get_agent", agent="none")


@pytest.fixture
def restless(daemon: Daemon) -> Daemon:
    """An agentd with an agent to which something happens again and again."""
    table = {"restart": "always", "restart_delay": "100ms", "restart_delay_max": "100ms"}
    daemon.write_jcard(jcard({"name": "ends", "harness": "custom", "command": ["true"], **table}))
    daemon.start()
    return daemon


async def test_a_host_is_told_when_something_happens_to_an_agent(restless: Daemon) -> None:
    async with hosted(restless) as client, client.listen(resource_subscriptions=[ENDS]) as events:
        async for event in events:
            assert isinstance(event, ResourceUpdated)
            assert event.uri == ENDS
            break


@pytest.mark.filterwarnings("ignore:resources/subscribe is removed", "ignore:resources/unsubscribe is removed")
async def test_a_host_of_before_is_told_too(restless: Daemon) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()

    async def hear(message: IncomingMessage) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            told.put_nowait(message.params.uri)

    async with hosted(restless, era="legacy", hear=hear) as client:
        await client.subscribe_resource(ENDS)  # type: ignore[deprecated]  # for hosts of before
        assert await told.get() == ENDS
        await client.unsubscribe_resource(ENDS)  # type: ignore[deprecated]


async def test_without_agentd_it_serves_and_says_so(daemon: Daemon) -> None:
    async with hosted(daemon, "--toolsets=default,agents") as client:
        assert "agentd_unreachable" in await refused(client, "list_agents")
    (said,) = (daemon.folder / "mcp.log").read_text().splitlines()
    assert (json.loads(said)["level"], json.loads(said)["event"]) == ("warning", "mcp_events_not_followed")
