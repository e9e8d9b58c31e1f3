"""Drop-ins that agentctl edits and a real daemon acts on."""

from __future__ import annotations

from typing import cast

import pytest

from tests.cli.support import Client
from tests.support.agents import jcard
from tests.support.daemon import Daemon


@pytest.fixture
def running(daemon: Daemon) -> Client:
    """A daemon with one agent in its jcard, and the client told where it is."""
    daemon.write_jcard(jcard({"name": "worker", "command": ["cat"]}))
    daemon.start()
    daemon.wait_state("worker", "running")
    return Client(daemon.folder, daemon.places)


def test_an_agent_comes_changes_and_goes_with_its_drop_in(running: Client, daemon: Daemon) -> None:
    worker = daemon.agents()["worker"]["pid"]
    folder = daemon.jcard.with_name(f"{daemon.jcard.stem}.d")
    done = running("add", "night", "--harness", "custom", "--file", "ci/night", "--wait", "--", "cat")
    assert (done.status, done.err) == (0, "")
    assert "night is running" in done.out
    listed = {row[0]: row[-2:] for row in running("list", "--wide").rows}
    assert listed == {"worker": ["-", str(daemon.jcard)], "night": ["ci", str(folder / "ci/night.toml")]}

    pid = daemon.agents()["night"]["pid"]
    assert running("set", "night", "env.A=1", "--wait").status == 0
    assert daemon.agents()["night"]["pid"] != pid

    done = running("remove", "night", "--wait")
    assert (done.status, done.err) == (0, "")
    assert done.out.endswith("night is gone\n")
    assert list((folder / "ci").iterdir()) == []
    assert daemon.agents()["worker"]["pid"] == worker


def test_plan_tells_what_a_drop_in_a_folder_or_a_jcard_would_change(running: Client, daemon: Daemon) -> None:
    folder = daemon.jcard.with_name(f"{daemon.jcard.stem}.d")
    assert running("add", "night", "--harness", "custom", "--file", "night", "--wait", "--", "cat").status == 0
    # The same jcard in the place of the jcard: its drop-ins stay.
    assert running("plan", daemon.jcard).out == ""
    other = daemon.folder / "other.toml"
    other.write_text(jcard({"name": "new", "command": ["cat"]}))
    assert {(row[1], row[2]) for row in running("plan", other).rows} == {("start", "new"), ("stop", "worker")}
    # A folder beside it stands in for the daemon's.
    other.with_suffix(".d").mkdir()
    (other.with_suffix(".d") / "x.toml").write_text(jcard({"name": "x", "command": ["cat"]}))
    wanted = {("start", "new"), ("stop", "worker"), ("start", "x"), ("stop", "night")}
    assert {(row[1], row[2]) for row in running("plan", other).rows} == wanted
    assert {(row[1], row[2]) for row in running("plan", other.with_suffix(".d")).rows} == {
        ("start", "x"),
        ("stop", "night"),
    }
    document = cast("dict[str, list[dict[str, str]]]", running("plan", "--json", other).document)
    sources = {operation["agent"]: operation["source"] for operation in document["operations"]}
    assert sources["night"] == str(folder / "night.toml")
    assert sources["x"] == str(other.with_suffix(".d") / "x.toml")
