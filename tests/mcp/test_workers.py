"""Workers by the tools of the server: a whole life, questions, lockdown, waits, and a server that is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Sequence

import pytest
from mcp.client.client import Client
from mcp.client.session import IncomingMessage
from mcp_types import CallToolResult, RequestParamsMeta, ResourceUpdatedNotification
from pydantic import JsonValue

from agentd.pool.listing import workers
from agentd.pool.results.workers import Worker
from tests.mcp.conftest import called, hosted, mcp_command, refused
from tests.pool.conftest import PROVIDER, World, git

CANARY = "CANARY-of-a-worker"


async def spawned(client: Client, world: World, task: str, isolation: str = "worktree") -> str:
    """Spawn a worker and give its id."""
    worker = await called(
        client, "spawn_worker", provider=PROVIDER, task=task, repo=str(world.repo), isolation=isolation
    )
    assert f"agentctl attach {worker['id']}" in str(worker["attach"])
    return str(worker["id"])


async def until(client: Client, worker: str, event: str) -> dict[str, JsonValue]:
    """Wait for an event of a worker."""
    cursor: str | None = None
    while True:
        given: dict[str, JsonValue] = {"workers": [worker], "for": [event], "cursor": cursor}
        told = await called(client, "observe_workers", **given)
        if told.get("event") == event:
            return told
        cursor = str(told["cursor"])


async def test_a_worker_is_spawned_asked_answered_collected_and_ended(world: World) -> None:
    async with hosted(world.daemon) as client:
        found = await called(client, "inventory", provider=PROVIDER)
        assert '"allowed": true' in json.dumps(found["providers"])
        worker = await spawned(client, world, "hello ASK-QUESTION")
        asked = await until(client, worker, "question")
        assert "Which colour?" in str(asked["asks"])
        await called(client, "answer_request", worker=worker, decision="answer", text="Blue")
        done = await until(client, worker, "completed")
        assert "You said: hello ASK-QUESTION (Blue)" in str(done["answer"])
        assert str(done["answer"]).startswith("<untrusted ")
        assert len(json.dumps(done)) <= 1024
        assert (await called(client, "interrupt_worker", worker=worker))["interrupted"] is False
        sent = await called(client, "send_message", worker=worker, text="more STUB-SLEEP:60")
        assert sent["worker"] == worker
        agents = world.daemon.agents
        await asyncio.to_thread(
            world.daemon.wait_for, lambda: agents()[worker]["activity"] == "working", what="its turn is under way"
        )
        assert (await called(client, "interrupt_worker", worker=worker))["interrupted"] is True
        tree = agents()[worker]["workdir"]
        with open(f"{tree}/new.txt", "w") as file:  # noqa: PTH123 (a test's file)
            file.write("made\n")
        work = await called(client, "collect_work", worker=worker)
        clone = world.daemon.folder / "clone"
        git(world.daemon.folder, "clone", "-q", str(world.repo), str(clone))
        git(clone, "apply", "--index", str(work["patch"]))
        assert (clone / "new.txt").read_text() == "made\n"
        ended = await called(client, "terminate_worker", worker=worker)
        assert ended["worktree_stays"] is True
        assert "not_found" in await refused(client, "observe_workers", workers=[worker])


async def test_locked_down_not_a_byte_of_a_worker_is_shown(world: World) -> None:
    async with hosted(world.daemon, "--lockdown") as client:
        worker = await spawned(client, world, f"{CANARY} ASK-QUESTION")
        said: list[dict[str, JsonValue]] = [await until(client, worker, "question")]
        said.append(await called(client, "answer_request", worker=worker, decision="answer", text="Blue"))
        said.append(await until(client, worker, "completed"))
        said.append(await called(client, "observe_workers", workers=[worker], detail="full", timeout_seconds=0))
        said.append(await called(client, "read_transcript", worker=worker))
        tree = world.daemon.agents()[worker]["workdir"]
        with open(f"{tree}/{CANARY}", "w") as file:  # noqa: PTH123 (a test's file)
            file.write("x")
        said.append(await called(client, "collect_work", worker=worker))
        parts = [f"agentd://agents/{worker}/{part}" for part in ("transcript", "events", "screen")]
        said += [{"resource": str(await client.read_resource(part))} for part in parts]
        said.append({"refused": await refused(client, "answer_request", worker=worker, decision="allow")})
        assert CANARY not in str(said)
        assert "Which colour?" not in str(said)


async def test_locked_down_what_a_worker_holds_leases_on_is_not_shown(world: World) -> None:
    acquire = {"path": CANARY, "mode": "write", "repo": str(world.repo)}
    async with hosted(world.daemon, "--toolsets=leases") as client:
        assert CANARY in str(await called(client, "acquire_lease", owner=CANARY, **acquire))
    async with hosted(world.daemon, "--toolsets=leases", "--lockdown") as client:
        said = [str(await called(client, "list_leases")), await refused(client, "acquire_lease", owner="o", **acquire)]
        assert CANARY not in str(said)
        assert "conflict" in said[1]


async def test_who_calls_is_the_parent_of_its_workers_and_is_told_of_them_unasked(world: World) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()

    async def hear(message: IncomingMessage) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            told.put_nowait(message.params.uri)

    job: dict[str, JsonValue] = {"provider": PROVIDER, "task": "ASK-QUESTION", "repo": str(world.repo)}
    linked: dict[str, RequestParamsMeta] = {
        "thread-1": {"threadId": "thread-1"},  # type: ignore[typeddict-unknown-key]  # codex's own
        "toolu_1": {"claudecode/toolUseId": "toolu_1"},  # type: ignore[typeddict-unknown-key]  # Claude Code's own
    }
    async with hosted(world.daemon, era="legacy", hear=hear, env={"AGENTD_AGENT": "boss"}) as client:
        for parent, meta in linked.items():
            result = await client.call_tool("spawn_worker", job, meta=meta)
            assert isinstance(result, CallToolResult)
            assert result.structured_content is not None
            worker = str(result.structured_content["id"])
            uri = f"agentd://agents/{worker}/events"
            assert uri in result.structured_content["resources"]
            while await told.get() != uri:
                pass
            (shown,) = (each for each in await asyncio.to_thread(listed, world) if each.id == worker)
            assert (shown.parent, shown.spawned_by) == (parent, "boss")


def listed(world: World) -> Sequence[Worker]:
    """List the workers."""
    return world.run(workers).workers


async def test_a_wait_blocks_nobody_tells_its_progress_and_ends_when_it_is_cancelled(world: World) -> None:
    async with hosted(world.daemon) as client:
        worker = await spawned(client, world, "STUB-SLEEP:300")
        told_of = asyncio.Event()

        async def hear(progress: float, total: float | None, message: str | None) -> None:  # noqa: ARG001 (called by name)
            told_of.set()

        wait = asyncio.create_task(
            client.call_tool("observe_workers", {"workers": [worker], "timeout_seconds": 50}, progress_callback=hear)
        )
        await told_of.wait()
        clock = asyncio.get_running_loop().time
        took = []
        for _ in range(5):
            began = clock()
            await client.list_tools(cache_mode="bypass")
            took.append(clock() - began)
        # 100 ms on a quiet machine; the median of several holds on a loaded one.
        assert sorted(took)[2] < 1.0
        wait.cancel()
        await asyncio.wait([wait])
        told = await called(client, "observe_workers", workers=[worker], timeout_seconds=0)
        assert (told["timed_out"], told["event"], told["worker"], told["exit"]) == (True, None, worker, None)
        await called(client, "terminate_worker", worker=worker)


async def test_a_server_that_is_killed_loses_nothing(world: World) -> None:
    process = subprocess.Popen(
        mcp_command(world.daemon),
        env=world.daemon.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        async with hosted(world.daemon) as client:
            worker = await spawned(client, world, "hello")
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    async with hosted(world.daemon) as client:
        assert "You said: hello" in str((await until(client, worker, "completed"))["answer"])


@pytest.mark.parametrize("arguments", [{"provider": "none"}, {"provider": "auto"}, {"repo": "/no/such/folder"}])
async def test_a_refusal_says_why_and_makes_nothing(world: World, arguments: dict[str, str]) -> None:
    async with hosted(world.daemon) as client:
        given = {"provider": PROVIDER, "task": "x", "repo": str(world.repo), **arguments}
        error = json.loads(await refused(client, "spawn_worker", **given))["error"]
        assert error["code"]
        assert error["message"]
        assert "example" in error["details"]
        assert not list(world.daemon.folder.glob("jcard.d/workers/*.toml"))
