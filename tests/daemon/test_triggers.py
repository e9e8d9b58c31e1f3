"""Agents are started by what comes: ``[[triggers]]``."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import cast

import pytest

from tests.cli.support import Client
from tests.daemon.test_schedules import told
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.support.waiting import wait_for


def trigger(file: Path | str, **fields: str) -> str:
    table = {"name": "inbox", "agent": "a", "file": str(file), **fields}
    return "\n[[triggers]]\n" + "".join(f'{name} = "{value}"\n' for name, value in table.items())


def inbox(daemon: Daemon) -> Path:
    folder = daemon.folder / "inbox"
    folder.mkdir()
    return folder


def noting(got: Path, then: str = "true") -> dict[str, object]:
    """Declare an agent that notes its prompt."""
    command = ["sh", "-c", f'printf "%s\\n" "$1" >> "$0"; {then}', str(got), "{prompt}"]
    return {"name": "a", "command": command, "prompt": "read {{ trigger.path }}", "grace_period": "1s"}


def watched(daemon: Daemon) -> None:
    """Wait until the folder was looked at: what appears from now on has appeared."""
    file = daemon.state / "triggers.json"
    wait_for(lambda: file.exists() and '"folder"' in file.read_text(), what="the folder was looked at")


def test_a_file_that_appears_is_run_once_and_what_was_there_is_not(daemon: Daemon) -> None:
    folder, got = inbox(daemon), daemon.folder / "got"
    (folder / "old.csv").touch()
    daemon.write_jcard(jcard(noting(got)) + trigger(folder / "*.csv"))
    daemon.start()
    agent = daemon.wait_state("a", "queued")
    reason = f"it is started by the trigger inbox: a file {folder}/*.csv"
    assert agent["queued"] is not None
    assert agent["queued"]["reason"] == reason
    client = Client(daemon.folder, daemon.places)
    assert f"(waits: queued: {reason})" in client("plan").out
    assert reason in client("status", "a").out
    watched(daemon)
    (folder / "elsewhere.txt").touch()
    (folder / ".hidden.csv").touch()
    (folder / "a folder.csv").mkdir()
    evil = folder / 'new "; $(touch pwned) {{ trigger.name }} @x.csv'
    evil.write_text("1")
    daemon.wait_for(lambda: len(told(daemon, "completed", "a")) == 1, what="its run has ended")
    shown = str(evil).replace('"', '\\"').replace("@", "\\u0040")
    assert got.read_text() == f'read "{shown}"\n'
    (event,) = told(daemon, "triggered", "a")
    data = cast("dict[str, object]", event["data"])
    assert (data["trigger"], data["path"], data["waiting"]) == ("inbox", str(evil), 1)
    # Another agentd makes no run of it again, and one of what appeared meanwhile.
    daemon.kill()
    (folder / "later.csv").touch()
    daemon.start()
    daemon.wait_for(lambda: len(told(daemon, "completed", "a")) == 2, what="the later one has run")
    assert got.read_text().splitlines()[1:] == [f'read "{folder}/later.csv"']
    assert client("plan").out == ""
    assert client("restart", "a").status == 0
    daemon.wait_for(lambda: len(told(daemon, "completed", "a")) == 3, what="it has run again")
    assert got.read_text().splitlines()[2:] == [f'read "{folder}/later.csv"']


@pytest.mark.thorough
def test_what_comes_during_a_run_waits_over_a_sigkill_of_agentd(daemon: Daemon) -> None:
    folder, got = inbox(daemon), daemon.folder / "got"
    daemon.write_jcard(jcard(noting(got, "exec sleep 600")) + trigger(folder / "*.csv"))
    daemon.start()
    watched(daemon)
    (folder / "1.csv").touch()
    pid = daemon.wait_state("a", "running")["pid"]
    (folder / "2.csv").touch()
    daemon.wait_for(lambda: len(told(daemon, "triggered", "a")) == 2, what="the second has come")
    daemon.kill()
    daemon.start()
    assert daemon.wait_state("a", "running")["pid"] == pid
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    daemon.wait_for(lambda: len(told(daemon, "started", "a")) == 2, what="the second has its run")
    wait_for(lambda: len(got.read_text().splitlines()) == 2, what="both are noted")
    assert got.read_text().splitlines() == [f'read "{folder}/{number}.csv"' for number in (1, 2)]


def test_a_name_that_a_prompt_cannot_say_is_refused_and_another_disk_starts_nobody(daemon: Daemon) -> None:
    folder = inbox(daemon)
    daemon.write_jcard(jcard(noting(daemon.folder / "got")) + trigger(folder / "*.csv"))
    daemon.start()
    watched(daemon)
    (folder / "a\x1b[2Jb.csv").touch()
    daemon.wait_for(lambda: len(told(daemon, "trigger_refused", "a")) == 1, what="it is refused")
    (event,) = told(daemon, "trigger_refused", "a")
    assert "a prompt cannot say which file it is" in str(event["reason"])
    assert daemon.wait_state("a", "queued")
    # Another folder in its place, as when a disk is mounted: what it has was there before.
    inode, other = folder.stat().st_ino, daemon.folder / "other"
    other.mkdir()
    (other / "there.csv").touch()
    folder.rename(daemon.folder / "away")
    other.rename(folder)
    file = daemon.state / "triggers.json"
    daemon.wait_for(lambda: f'"folder": {inode}' not in file.read_text(), what="the other folder was looked at")
    (folder / "new.csv").touch()
    daemon.wait_for(lambda: len(told(daemon, "completed", "a")) == 1, what="what is new there has its run")
    assert (daemon.folder / "got").read_text() == f'read "{folder}/new.csv"\n'
