"""agentd becomes the program that is installed, in its own process: no agent notices."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from pathlib import Path
from typing import cast

import pytest

from agentd import __version__
from agentd.daemon import replacing
from agentd.daemon.shutdown import Signals, told_to_be_replaced
from agentd.files.looks import Looks
from tests.daemon.support import declare, running, script
from tests.daemon.test_approvals import client_of
from tests.support.daemon import Daemon
from tests.support.processes import alive
from tests.support.waiting import PATIENCE, until


def starts(daemon: Daemon) -> list[dict[str, object]]:
    try:
        found = daemon.get("/v1/events?kind=daemon_started")
    except OSError:
        return []  # while it is being replaced
    return [cast("dict[str, object]", event["data"]) for event in cast("list[dict[str, object]]", found)]


@pytest.mark.program
@pytest.mark.parametrize("way", ["stop", "keep"])
def test_agents_go_on_whatever_is_to_be_done_at_its_end(daemon: Daemon, way: str) -> None:
    declare(daemon, script("a", "exec sleep 600"))
    daemon.start(f"--on-shutdown={way}")
    running(daemon, "a")
    before = daemon.agents()["a"]
    pid = cast("dict[str, int]", daemon.get("/v1/health"))["pid"]
    os.kill(pid, signal.SIGUSR2)
    daemon.wait_for(lambda: len(starts(daemon)) == 2, what="another agentd has taken over")
    running(daemon, "a")
    after = daemon.agents()["a"]
    assert [(each["pid"], each["restarts"]) for each in (before, after)] == [(before["pid"], 0)] * 2
    assert starts(daemon)[1]["adopted"] == 1
    assert cast("dict[str, int]", daemon.get("/v1/health"))["pid"] == pid
    # The limit of open files that agents are given is the one that agentd was started with.
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = daemon.folder / "limit"
    declare(daemon, script("a", "exec sleep 600"), script("b", f"ulimit -n >{limit}; exec sleep 600"))
    running(daemon, "b")
    daemon.wait_for(lambda: limit.exists() and limit.read_text() == f"{soft}\n", what="the limit is what it was")


@pytest.mark.program
def test_agentctl_says_what_would_become_of_agents_and_that_none_was_restarted(daemon: Daemon) -> None:
    declare(daemon, script("a", "exec sleep 600"), script("b", "exec sleep 600"))
    daemon.start()
    running(daemon, "a", "b")
    before = {name: (each["pid"], each["restarts"]) for name, each in daemon.agents().items()}
    client = client_of(daemon)
    checked = client("upgrade", "--check", "--json").document
    assert isinstance(checked, dict)
    assert [(each["name"], each["action"]) for each in checked["agents"]] == [("a", "nothing"), ("b", "nothing")]
    pid = daemon.health()["pid"]
    done = client("upgrade")
    assert (done.status, done.err) == (0, "")
    assert done.out == f"agentd {__version__} is now {__version__}, pid {pid}: 2 agents went on, restarts: 0\n"
    assert {name: (each["pid"], each["restarts"]) for name, each in daemon.agents().items()} == before
    assert client("upgrade", "--json").document == {
        "from": __version__, "to": __version__, "pid": pid, "agents": 2, "restarts": 0,
    }  # fmt: skip


async def test_an_installed_program_that_does_not_work_takes_over_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "agentd"

    def installed(text: str) -> None:
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)

    monkeypatch.setattr(replacing, "installed_command", lambda: [str(program)])
    assert "No such file" in str(await replacing.why_unusable())
    for text, said in (
        ("echo 'ModuleNotFoundError: x' >&2; exit 1", None),
        ("echo 'Traceback (most recent call last):' >&2; echo 'ModuleNotFoundError: x' >&2; exit 1", "ModuleNotFound"),
        ("exit 2", "exit status 2"),
        ("kill -9 $$", "exit status -9"),
        ('test "$*" = --check', None),
    ):
        installed(text)
        found = await replacing.why_unusable()
        assert (found is None) if said is None else said in str(found)


async def test_an_installed_program_that_hangs_does_not_keep_agentd_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = tmp_path / "begun"
    hangs = f"echo $$ >{begun}.new; mv {begun}.new {begun}; exec sleep 600"
    monkeypatch.setattr(replacing, "installed_command", lambda: ["/bin/sh", "-c", hangs])
    signals, looks = Signals(), Looks()
    replaced = asyncio.create_task(told_to_be_replaced(signals, looks))
    signals.replace.set()
    await until(begun.exists)
    signals.stop.set()
    async with asyncio.timeout(PATIENCE):
        assert not await replaced
    assert not alive(int(begun.read_text()))
    looks.close()
