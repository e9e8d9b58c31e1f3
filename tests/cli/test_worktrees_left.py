"""An edit that leaves a git worktree says so."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import Client
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.support.thorough import everyday
from tests.worktrees.repositories import World, commit, git, make_repository


def of(name: str, **fields: object) -> dict[str, object]:
    return {"name": name, "command": ["cat"], "repo": "shop", "isolation": "worktree", **fields}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Worktrees of alice and of three helpers, and none of bob's."""
    world = World(tmp_path)
    for name in ("alice", "helper-0", "helper-1", "helper-2"):
        world.make(world.checkout(name))
    agents = jcard(of("alice"), of("bob"), of("helper", replicas=3), {"name": "plain", "command": ["cat"]})
    (tmp_path / "jcard.toml").write_text(agents)
    return world


@pytest.fixture
def client(world: World) -> Client:
    return Client(world.folder, {"AGENTD_DATA_DIR": str(world.folder), "AGENTD_AGENT_USER": getpass.getuser()})


@pytest.mark.parametrize(
    "call",
    everyday(
        [("remove", "alice")], [("rename", "alice", "carol"), ("remove", "alice"), ("set", "alice", "name=carol")]
    ),
)
def test_a_worktree_that_stays_is_told(client: Client, world: World, call: tuple[str, ...]) -> None:
    done = client(*call)
    assert (
        f"the worktree of alice stays in {world.folder}/worktrees, with its branch: agentctl collect alice copies "
        "the work in it, agentctl worktrees clean alice removes it unless work would be lost"
    ) in done.err
    assert "helper" not in done.err


@pytest.mark.parametrize(
    ("replicas", "left"),
    [
        ("1", "helper-0, helper-1, helper-2"),
        pytest.param("2", "helper-2", marks=pytest.mark.thorough),
        pytest.param("4", None, marks=pytest.mark.thorough),
    ],
)
def test_scaling_says_which_worktrees_stay(client: Client, replicas: str, left: str | None) -> None:
    done = client("scale", "helper", replicas, "--dry-run")
    assert done.status == 0
    assert ("stay" in done.err) == (left is not None)
    assert left is None or f"of {left} stay" in done.err
    document: Any = client("scale", "helper", replicas, "--dry-run", "--json").document
    assert len(document["warnings"]) == (left is not None)


@pytest.mark.parametrize("field", everyday(["repo=other"], ["branch=topic", "repo=other", "isolation=read_only"]))
def test_a_worktree_that_makes_room_is_told(client: Client, world: World, field: str) -> None:
    make_repository(world.folder / "other")
    assert "alice gets another worktree: the former one" in client("set", "alice", field).err
    assert "gets another" not in client("set", "bob", field).err


@pytest.mark.parametrize(
    "call", everyday([("remove", "bob")], [("set", "alice", "base=main"), ("remove", "bob"), ("remove", "plain")])
)
def test_what_leaves_no_worktree_says_nothing(client: Client, call: tuple[str, ...]) -> None:
    assert client(*call).err == ""


def test_a_repository_that_was_moved_makes_no_other_worktree(client: Client, world: World) -> None:
    world.repo.rename(world.folder / "store")
    assert "gets another" not in client("set", "alice", "repo=store").err


def test_a_plan_and_the_log_of_an_edit_by_hand_say_it_too(daemon: Daemon) -> None:
    make_repository(daemon.folder / "shop")
    daemon.write_jcard(jcard(of("alice")))
    daemon.start()
    daemon.wait_state("alice", "running")
    env = {"AGENTD_API_SOCKET": str(daemon.api_socket), "AGENTD_CONFIG": str(daemon.jcard)}
    client = Client(daemon.folder, {**env, "AGENTD_DATA_DIR": str(daemon.data)})
    (daemon.folder / "next.toml").write_text(jcard({"name": "plain", "command": ["cat"]}))
    assert "the worktree of alice stays in" in client("plan", "next.toml").err
    daemon.write_jcard(jcard({"name": "plain", "command": ["cat"]}))
    daemon.wait_gone("alice")
    daemon.wait_for(
        lambda: any(
            event.get("worktree") == str(daemon.data / "worktrees" / "alice")
            for event in map(json.loads, daemon.log_text().splitlines())
            if event["event"] == "agent_removed"
        )
    )


@pytest.mark.thorough
def test_empty_submodules_are_told(client: Client, world: World) -> None:
    library = make_repository(world.folder / "lib $x")
    git(world.repo, "-c", "protocol.file.allow=always", "submodule", "add", "-q", library, "vendor/lib")
    commit(world.repo, "with a submodule")
    world.make(world.checkout("dora"))
    said = client("worktrees", "list").err
    assert said.count("\n") == 1
    assert "dora: the submodules vendor/lib are empty folders: git -C " in said
    [document] = json.loads(client("worktrees", "list", "dora", "--json").out)
    assert document["missing_submodules"] == ["vendor/lib"]
    git(world.folder / "worktrees" / "dora", "-c", "protocol.file.allow=always", "submodule", "update", "--init", "-q")
    assert client("worktrees", "list").err == ""
