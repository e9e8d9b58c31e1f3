"""Adapters that raise, hang or block: each costs its own run's activity, and nothing else."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentd.harness.additions import Additions, LaunchFacts
from agentd.model.events import Event
from agentd.model.states import Activity
from agentd.process.identity import ProcessIdentity
from agentd.supervise.run_watcher import RunFiles, StartedRun
from agentd.turns import thread as thread_module
from agentd.turns.activity import Seen
from agentd.turns.adapter import Answer, Granularity, Ground, Hook, LiveRun, TurnsError, Voice
from agentd.turns.budgets.ledger import Ledger
from agentd.turns.conversation import Request
from agentd.turns.conversations import Conversations
from agentd.turns.events import Ended
from agentd.turns.requests import Access
from agentd.turns.thread import Setting, TurnsThread
from tests.turns.claude_run import Terminal, me, until


@dataclass
class Misbehaving:
    """Does what it is told to; at first it says that the agent is idle."""

    how: str
    granularity: Granularity = Granularity.MESSAGE
    release: threading.Event | None = None

    def additions(self, facts: LaunchFacts) -> Additions:
        if self.how == "additions":
            raise RuntimeError("a defect")
        return Additions((*facts.argv, "--added"))

    def watch(self, run: LiveRun, voice: Voice, ground: Ground) -> MisbehavingWatch:
        del run, ground
        if self.how == "watch":
            raise RuntimeError("a defect")
        return MisbehavingWatch(self, voice)


@dataclass
class MisbehavingWatch:
    adapter: Misbehaving
    voice: Voice

    async def run(self) -> None:
        self.voice.seen("file", Seen(Activity.IDLE, time.time()))
        if self.adapter.how == "run":
            raise RuntimeError("a defect")
        if self.adapter.how == "block":
            await asyncio.sleep(0.1)
            assert self.adapter.release is not None
            self.adapter.release.wait(BLOCKED)
        await asyncio.Event().wait()

    async def hook(self, hook: Hook) -> bytes | None:
        raise RuntimeError(hook.name)

    async def hindrance(self, *, returned: str | None) -> str | None:
        return returned

    async def deliver(self, text: str) -> None:
        raise TurnsError(text)

    async def answer(self, request: Request, answer: Answer) -> None:
        raise TurnsError(f"{request} {answer}")

    async def interrupt(self) -> None:
        raise RuntimeError("a defect")

    async def at_exit(self, *, succeeded: bool) -> Ended | None:
        raise RuntimeError(str(succeeded))


@dataclass
class Watched:
    thread: TurnsThread
    events: list[Event]

    def start(self, harness: str) -> None:
        files = RunFiles(Path("/nonexistent/file"), Path("/nonexistent/socket"))
        process = ProcessIdentity(os.getpid(), None)
        self.thread.started(StartedRun(harness, harness, harness, Path("/"), process, files, None, {}))

    def activity(self, run: str) -> str:
        shown = self.thread.shown(run)
        assert shown is not None
        return shown.activity.value


RELEASE = threading.Event()
BLOCKED = 20.0
"""Seconds that an adapter blocks its thread, unless it is released."""
HOWS = ("well", "additions", "watch", "run", "block")


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    RELEASE.clear()
    events: list[Event] = []
    setting = Setting(
        adapters={how: Misbehaving(how, release=RELEASE) for how in HOWS},
        user=me(),
        access=Access(os.getuid(), os.getuid(), None),
        hook_socket=None,
        sink=events.append,
        redact=lambda text: text.replace("secret", "[secret]"),
        conversations=Conversations(Path("/nonexistent/conversations.json")),
        messages=Path("/nonexistent/messages.db"),
        ledger=Ledger(Path("/nonexistent/budgets.json")),
        changed=lambda _run: None,
        may_launch=lambda: None,
        terminal=lambda _run: Terminal(),
        empty_box=lambda _harness: None,
    )
    thread = TurnsThread(setting)
    yield Watched(thread, events)
    RELEASE.set()
    await thread.close()


def facts(harness: str) -> LaunchFacts:
    return LaunchFacts(
        *("a", "r", harness, ("program",), {}, Path("/"), Path("/home/x")),
        stays=True,
        file=Path("/f"),
        socket=Path("/s"),
    )


async def test_a_launch_whose_additions_fail_is_as_declared(watched: Watched) -> None:
    added = watched.thread.additions(facts("well"))
    assert added is not None
    assert added.argv == ("program", "--added")
    added = watched.thread.additions(facts("additions"))
    assert added is not None
    assert added.argv == ("program",)


@pytest.mark.parametrize("how", ["watch", "run"])
async def test_an_adapter_that_raises_costs_its_own_runs_activity(watched: Watched, how: str) -> None:
    watched.start(how)
    watched.start("well")
    await until(lambda: watched.activity("well") == "idle")
    await until(lambda: watched.activity(how) == "unknown")
    watched.thread.ended(how, succeeded=False)
    assert watched.thread.shown(how) is None
    assert watched.activity("well") == "idle"


async def test_an_adapter_that_blocks_its_thread_makes_nothing_but_unknown(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread_module, "_BEAT", 0.05)
    watched.start("well")
    await until(lambda: watched.activity("well") == "idle")
    monkeypatch.setattr(thread_module, "_STUCK", 0.5)
    watched.start("block")
    await until(lambda: watched.activity("well") == "unknown")
    begun = time.monotonic()
    watched.start("run")
    watched.thread.ended("run", succeeded=True)
    assert time.monotonic() - begun < BLOCKED / 4, "the daemon's loop waits for nothing there"


async def test_a_run_without_an_adapter_is_unknown_and_ends(watched: Watched) -> None:
    watched.start("nobody's")
    assert watched.activity("nobody's") == "unknown"
    watched.thread.ended("nobody's", succeeded=True)
    watched.thread.ended("nobody's", succeeded=True)
    assert watched.thread.shown("nobody's") is None
    assert not watched.events
