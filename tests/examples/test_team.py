"""The example of a manager with two workers, played from its jcard."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.pool.conftest import git
from tests.support.daemon import Daemon, program

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def team_of(daemon: Daemon) -> Path:
    """Put the example where its README does, and give the repository."""
    folder = daemon.folder / "team"
    shutil.copytree(EXAMPLES / "team", folder)
    shutil.copy(EXAMPLES / "gateway/stand_in.py", folder)
    site = folder / "site"
    git(folder, "init", "--quiet", str(site))
    for name in ("user.name", "user.email"):
        git(site, "config", name, "t@localhost")
    git(site, "commit", "--quiet", "--allow-empty", "--message", "Begin")
    return site


def jcard_of(daemon: Daemon, name: str = "jcard.toml") -> str:
    """Give the example's jcard for the place where it is."""
    text = (daemon.folder / "team" / name).read_text().replace("/srv/team", str(daemon.folder / "team"))
    return text.replace('"python3"', f'"{sys.executable}"')


@pytest.mark.thorough
def test_a_manager_spawns_two_answers_one_and_merges_both(daemon: Daemon) -> None:
    site = team_of(daemon)
    (daemon.bin / "agentctl").symlink_to(program("agentctl"))
    env = ", ".join(f'{name} = "{value}"' for name, value in daemon.places.items())
    daemon.write_jcard(f"{jcard_of(daemon)}env = {{ {env} }}\n")
    daemon.start()
    manager = daemon.wait_state("manager", "exited", "failed", timeout=110)
    assert manager["exit_code"] == 0, daemon.screen("manager", history=True)
    assert git(site, "log", "--format=%s") == "Write its colour\nWrite a page\nBegin"
    assert (site / "page.txt").read_text() == "You said: Write the page. WRITE-FILE:page.txt\n"
    assert "(Blue)" in (site / "colour.txt").read_text()
    assert git(site, "status", "--porcelain") == ""
    assert list(daemon.agents()) == ["manager"]
    events = daemon.get("/v1/events?kind=declared")
    assert isinstance(events, list)
    parents = [event["data"]["parent"] for event in events if event["data"].get("role") == "writer"]
    assert parents == ["manager", "manager"]
