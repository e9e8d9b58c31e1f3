"""Who may connect to the socket for hooks and answers, whose run a process is of, and how many hooks are taken."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agentd.files.looks import Looks
from agentd.harness.additions import LaunchFacts
from agentd.model.spec import RUN_ID_VARIABLE
from agentd.process.identity import ProcessIdentity
from agentd.process.proc import run_id_of
from agentd.supervise.run_watcher import DeclaredAgent
from agentd.turns.adapter import Ground, LiveRun
from agentd.turns.budgets.ledger import Ledger
from agentd.turns.custom.adapter import CUSTOM
from agentd.turns.file_changes import FileChanges
from agentd.turns.hook_socket import HttpAnswer, HttpRequest
from agentd.turns.messages.store import Store
from agentd.turns.peers import Peer, is_in_a_run, run_of
from agentd.turns.requests import Access, Requests, _Flow
from agentd.turns.turns import Turns
from tests.support.waiting import wait_for
from tests.turns.acp_run import Seen
from tests.turns.claude_run import Terminal, me

ADMIN, AGENT, OWN = 4, 1000, 33


@pytest.mark.parametrize(
    ("peer", "may"),
    [
        (Peer(1, 0, 0, frozenset()), True),
        (Peer(1, AGENT, AGENT, frozenset()), True),
        (Peer(1, OWN, OWN, frozenset()), True),
        (Peer(1, 2000, 2000, frozenset({ADMIN})), True),
        (Peer(1, 2000, ADMIN, frozenset()), True),
        (Peer(1, 2000, 2000, frozenset({AGENT})), False),
    ],
)
def test_root_the_agents_user_and_the_admin_group_may_connect(peer: Peer, may: bool) -> None:
    assert Access(AGENT, OWN, ADMIN).may_connect(peer) is may


def test_without_an_admin_group_nobody_else_may() -> None:
    assert not Access(AGENT, OWN, None).may_connect(Peer(1, 2000, ADMIN, frozenset({ADMIN})))


def test_a_process_belongs_to_the_run_that_it_descends_from() -> None:
    code = "import subprocess,sys; subprocess.run([sys.executable,'-c','import sys; sys.stdin.read()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as agent:
        process = ProcessIdentity.of(agent.pid)
        assert process is not None
        runs = {agent.pid: (process, "a")}

        def child() -> int | None:
            with open(f"/proc/{agent.pid}/task/{agent.pid}/children", encoding="ascii") as children:  # noqa: PTH123
                pids = children.read().split()
            return int(pids[0]) if pids else None

        grandchild = wait_for(child, what="it has a child")
        assert run_of(grandchild, runs) == run_of(agent.pid, runs) == "a"
        assert is_in_a_run(grandchild, runs)
        # Another process has got that pid since.
        assert run_of(grandchild, {agent.pid: (ProcessIdentity(agent.pid, 1), "a")}) is None
        assert run_of(os.getpid(), runs) is None
        assert run_of(1, runs) is run_of(2**22 + 1, runs) is None
        assert agent.stdin is not None
        agent.stdin.close()


@pytest.mark.parametrize("told", ["its own run", "another run"])
async def test_a_hook_that_comes_before_its_run_is_known_waits_for_it(tmp_path: Path, told: str) -> None:
    looks = Looks()
    outlet = Seen()
    turns = Turns(
        {"custom": CUSTOM},
        Ground(looks, FileChanges(looks), me(), time.time),
        outlet,
        Store(tmp_path / "m"),
        Ledger(tmp_path / "b"),
    )
    turns.adopted.set()
    await turns.deliveries.open()
    requests = Requests(turns, Access(OWN, OWN, None))
    with (
        subprocess.Popen(["sleep", "60"], env={**os.environ, RUN_ID_VARIABLE: told}) as agent,
        subprocess.Popen(["sleep", "60"]) as other,
    ):
        try:
            peer = Peer(agent.pid, OWN, OWN, frozenset())
            wait_for(lambda: run_id_of(agent.pid) == told, what="it is the program")
            post = asyncio.create_task(requests.handle(HttpRequest(peer, "POST", "/v1/hook/ready", b"{}")))
            await asyncio.sleep(0)
            assert not post.done()
            process = ProcessIdentity.of(agent.pid if told == "its own run" else other.pid)
            assert process is not None
            facts = LaunchFacts("a", told, "custom", (), {}, tmp_path, tmp_path, True, tmp_path / "f", tmp_path / "s")
            turns.started(LiveRun(facts, process, {}, Terminal()), by_adapter=True)
            answer = await post
            # Of another's run its environment only says that it is.
            assert isinstance(answer, HttpAnswer)
            assert answer.status == (200 if told == "its own run" else 403)
        finally:
            agent.kill()
            other.kill()
    await turns.close()
    looks.close()


def test_a_flood_is_cut_to_a_rate_and_ends() -> None:
    flow = _Flow()
    taken = sum(flow.take(10.0) for _ in range(1000))
    assert taken == 399
    assert sum(flow.take(11.0) for _ in range(1000)) == pytest.approx(200, abs=1)
    assert flow.take(60.0)


@pytest.mark.parametrize("read", [True, False])
async def test_what_is_asked_before_the_files_are_read_waits_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: bool
) -> None:
    looks = Looks()
    turns = Turns(
        {}, Ground(looks, FileChanges(looks), me(), time.time), Seen(), Store(tmp_path / "m"), Ledger(tmp_path / "b")
    )
    turns.adopted.set()
    await turns.deliveries.open()
    requests = Requests(turns, Access(OWN, OWN, None))
    peer, body = Peer(os.getpid(), OWN, OWN, frozenset()), b'{"harness": "custom", "workdir": "/w", "id": "c1"}'
    if not read:
        monkeypatch.setattr("agentd.turns.requests._READING_LIMIT", 0.01)
    try:
        post = asyncio.create_task(requests.handle(HttpRequest(peer, "POST", "/v1/turns/a/conversation", body)))
        await asyncio.sleep(0)
        assert not post.done()
        if read:
            turns.declared([DeclaredAgent("a", "custom", None)], all_known=True)
        answer = await post
        assert isinstance(answer, HttpAnswer)
        assert answer.status == (200 if read else 503)
    finally:
        await turns.close()
        looks.close()


@pytest.mark.parametrize("kept", [True, False])
async def test_a_conversation_is_brought_back_once_a_later_agentd_knows_of_it_too(tmp_path: Path, kept: bool) -> None:
    looks, outlet = Looks(), Seen(keeps=kept)
    turns = Turns(
        {}, Ground(looks, FileChanges(looks), me(), time.time), outlet, Store(tmp_path / "m"), Ledger(tmp_path / "b")
    )
    turns.adopted.set()
    await turns.deliveries.open()
    turns.declared([DeclaredAgent("a", "custom", None)], all_known=True)
    peer, body = Peer(os.getpid(), OWN, OWN, frozenset()), b'{"harness": "custom", "workdir": "/w", "id": "c1"}'
    try:
        answer = await Requests(turns, Access(OWN, OWN, None)).handle(
            HttpRequest(peer, "POST", "/v1/turns/a/conversation", body)
        )
        assert isinstance(answer, HttpAnswer)
        assert answer.status == (200 if kept else 503)
    finally:
        await turns.close()
        looks.close()
