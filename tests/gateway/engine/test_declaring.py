"""How the agents of sessions are declared: as the agent by whose definition they work."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from agentd.gateway.talk.declare import Declarations, DeclareError, own_name
from agentd.gateway.talk.definitions import Definitions, Files
from agentd.gateway.talk.session_table import SessionAgent, by_definition, by_harness
from agentd.harness.registry import load_harnesses
from agentd.jcard import reading
from agentd.jcard.load import load_jcard
from agentd.jcard.problems import LoadResult
from agentd.model.spec import AgentSpec, ApplyWhen, LoadContext, Mode, Policy, RestartPolicy

EVERYTHING = """
[[agents]]
name = "native"
harness = "codex"
prompt = "Do not say this."
mode = "oneshot"
workdir = "work"
env = { LEVEL = "3", TEXT = "tab\\t and 'quotes' and \\u0001" }
secrets = ["ONE", "TWO"]
args = ["--search", "-c", 'x="y"']
model = "m"
restart = "on-failure"
restart_delay = "1s"
restart_delay_max = "2s"
restart_reset = "3s"
success_exit_codes = [0, 3]
timeout = "1h"
grace_period = "4s"
memory = "1GiB"
memory_high = "512MiB"
pid_limit = 100
cpu = 1.5
on_oom = "stop"
session = "of-native"
replicas = 2

[[agents]]
name = "custom"
harness = "custom"
command = ["program", "--option", "{prompt}"]
secrets = []

[[agents]]
name = "writer"
harness = "claude-code"
repo = "repo"
isolation = "worktree"
branch = "mine"
base = "main"
workdir = "inside"

[[agents]]
name = "reader"
harness = "claude-code"
repo = "repo"
isolation = "read_only"

[[agents]]
name = "boxed"
harness = "opencode"
type = "sandboxed"
extra_packages = ["ripgrep"]
sandbox = "bubblewrap"
network = "none"
network_allow = ["*.example.com:443", "[::1]:80"]
secrets = ["PLAIN", { name = "KEY", to = ["api.example.com"], mode = "egress" }]
read_only_paths = ["docs"]
writable_paths = ["out"]
"""


@pytest.fixture
def context(tmp_path: Path) -> LoadContext:
    return LoadContext(tmp_path, tmp_path / "home", tmp_path, load_harnesses().harnesses, tmp_path / "data")


def load(text: str, path: Path, context: LoadContext) -> list[AgentSpec]:
    loaded = load_jcard(text.encode(), str(path), context)
    assert not loaded.problems, loaded.problems
    return [*loaded.agents]


async def test_a_sessions_agent_is_as_its_definition(tmp_path: Path, context: LoadContext) -> None:
    declarations = Declarations(tmp_path / "jcard.d", 60)
    for spec in load(EVERYTHING, tmp_path / "jcard.toml", context):
        own = SessionAgent(f"{spec.name}--s-00000000", f"{spec.session}--s-00000000")
        await declarations.declare("alice", by_definition(spec, own))
        path = tmp_path / "jcard.d/alice" / f"{own.name}.toml"
        (declared,) = load(path.read_text(), path, replace(context, folder=path.parent))
        policy = replace(spec.policy, restart=RestartPolicy.ALWAYS, max_restarts=0, timeout=None, apply=ApplyWhen.IDLE)
        expected = replace(
            spec, name=own.name, session=own.session, mode=Mode.INTERACTIVE, prompt="", resume=True, policy=policy,
            source=path,
        )  # fmt: skip
        if spec.checkout is not None:
            branch = None if spec.checkout.read_only else f"agentd/{own.name}"
            checkout = replace(spec.checkout, path=spec.checkout.path.with_name(own.name), branch=branch)
            inside = spec.workdir.relative_to(spec.checkout.path)
            expected = replace(expected, checkout=checkout, workdir=checkout.path / inside)
        assert declared == expected
        assert load_jcard(path.read_bytes(), str(path), context).lease == 60
    declarations.close()


def test_an_ad_hoc_agent_has_no_more_than_harness_and_folder(tmp_path: Path) -> None:
    table = by_harness("codex", SessionAgent("codex--s-1", "codex--s-1", tmp_path))
    assert set(table) == {"name", "session", "harness", "mode", "restart", "resume", "apply", "workdir"}
    assert Policy().restart is not RestartPolicy.ALWAYS


def test_a_conversation_with_gemini_is_held_by_the_agent_client_protocol(tmp_path: Path, context: LoadContext) -> None:
    text = """
[[agents]]
name = "plain"
harness = "gemini-cli"
model = "gemini-2.5-pro"
args = ["--debug"]

[[agents]]
name = "boxed"
harness = "gemini-cli"
type = "sandboxed"

[[agents]]
name = "reader"
harness = "gemini-cli"
repo = "repo"
isolation = "read_only"
"""
    own = SessionAgent("x--s-00000000", "x--s-00000000")
    tables = [by_definition(spec, own) for spec in load(text, tmp_path / "jcard.toml", context)]
    assert [table["harness"] for table in tables] == ["acp", "gemini-cli", "acp"]
    assert tables[0]["command"] == ["gemini", "-m", "gemini-2.5-pro", "--acp", "--debug"]
    assert not {"model", "args"} & set(tables[0])
    assert tables[2]["command"] == ["gemini", "--approval-mode", "plan", "--acp"]
    assert by_harness("gemini-cli", own)["command"] == ["gemini", "--acp"]


async def test_a_drop_in_is_written_renewed_and_removed(tmp_path: Path) -> None:
    declarations = Declarations(tmp_path, 60)
    table = by_harness("codex", SessionAgent("x--s-00000000", "x--s-00000000"))
    for owner, folder in (("alice", "alice"), (None, "gateway"), ("../up", "gateway"), ("a b", "gateway")):
        path = tmp_path / folder / "x--s-00000000.toml"
        await declarations.declare(owner, table)
        os.utime(path, (1, 1))
        await declarations.renew([(owner, "x--s-00000000"), (owner, "gone")])
        assert path.stat().st_mtime > 1
        inode = path.stat().st_ino
        await declarations.declare(owner, table)
        assert path.stat().st_ino == inode, "what is there already is only renewed"
        await declarations.withdraw(owner, "x--s-00000000")
        await declarations.withdraw(owner, "x--s-00000000")
        assert not path.exists()
    (tmp_path / "bob").write_text("in the way")
    with pytest.raises(DeclareError, match="cannot be written"):
        await declarations.declare("bob", table)
    declarations.close()


async def test_no_symlink_is_followed_in_the_place_of_an_owners_folder(tmp_path: Path) -> None:
    declarations = Declarations(tmp_path / "jcard.d", 60)
    name = "x--s-00000000"
    table = by_harness("codex", SessionAgent(name, name))
    await declarations.declare("bob", table)
    (bobs,) = (tmp_path / "jcard.d/bob").iterdir()
    os.utime(bobs, (1, 1))
    for target in ("bob", tmp_path / "nowhere"):
        (tmp_path / "jcard.d/alice").symlink_to(target)
        with pytest.raises(DeclareError, match="no symlink is followed"):
            await declarations.declare("alice", table)
        with pytest.raises(DeclareError, match="no symlink is followed"):
            await declarations.withdraw("alice", name)
        await declarations.renew([("alice", name)])
        (tmp_path / "jcard.d/alice").unlink()
    assert bobs.stat().st_mtime == 1
    assert not (tmp_path / "nowhere").exists()
    declarations.close()


async def test_what_stands_in_the_place_of_a_drop_in_is_replaced_not_followed(tmp_path: Path) -> None:
    declarations = Declarations(tmp_path, 60)
    name = "x--s-00000000"
    table = by_harness("codex", SessionAgent(name, name))
    await declarations.declare("alice", table)
    path, other = tmp_path / f"alice/{name}.toml", tmp_path / "other"
    text = path.read_text()
    path.replace(other)
    os.utime(other, (1, 1))
    other.chmod(0o600)
    path.symlink_to(other)
    await declarations.declare("alice", table)
    assert not path.is_symlink()
    assert path.read_text() == text
    assert path.stat().st_mode & 0o777 == 0o640
    assert other.stat().st_mtime == 1
    path.unlink()
    os.mkfifo(path)
    await declarations.declare("alice", table)
    assert path.read_text() == text
    declarations.close()


def test_names_of_sessions_agents_fit() -> None:
    name, session = own_name("a" * 63)
    assert len(name) == 63
    assert session == "a" * 63 + name[51:]


async def test_definitions_are_read_as_agentd_does(tmp_path: Path) -> None:
    config, folder = tmp_path / "jcard.toml", tmp_path / "jcard.d"
    (folder / "team").mkdir(parents=True)
    config.write_text('[[agents]]\nname = "One"\nharness = "codex"\n')
    (folder / "team/two.toml").write_text('[agent]\nname = "two"\nharness = "codex"\n')
    (folder / "team/one--s-0123abcd.toml").write_text('[agent]\nname = "one--s-0123abcd"\nharness = "codex"\n')
    definitions = Definitions(Files(config, folder, None, None))
    assert set(await definitions.agents()) == {"one", "two"}
    assert (await definitions.agents())["two"].owner == "team"
    assert definitions.since(config) == config.stat().st_mtime
    # What is wrong is not taken: the last good content counts.
    config.write_text("[[agents]]\nname = 3\n")
    (folder / "team/two.toml").unlink()
    assert set(await definitions.agents()) == {"one"}
    assert "codex" in await definitions.harnesses()
    assert "custom" not in await definitions.harnesses()
    definitions.close()


async def test_definitions_load_only_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load(data: bytes, path: str, context: LoadContext) -> LoadResult:
        loaded.append(Path(path).stem)
        return load_jcard(data, path, context)

    monkeypatch.setattr(reading, "load_jcard", load)
    config, folder = tmp_path / "jcard.toml", tmp_path / "jcard.d"
    folder.mkdir()
    config.write_text('[agent]\nname = "one"\nharness = "codex"\n')
    for name in ("two", "three"):
        (folder / f"{name}.toml").write_text(f'[agent]\nname = "{name}"\nharness = "codex"\n')
    definitions = Definitions(Files(config, folder, None, None))
    assert set(await definitions.agents()) == {"one", "two", "three"}
    assert sorted(loaded) == ["jcard", "three", "two"]
    (folder / "two.toml").write_text('[agent]\nname = "two"\nharness = "claude-code"\n')
    (folder / "three.toml").touch()
    agents = await definitions.agents()
    assert (agents["two"].harness, len(agents), loaded[3:]) == ("claude-code", 3, ["two"])
    # What is wrong is not taken, however often it is asked for.
    (folder / "two.toml").write_text("[agent]\nname = 2\n")
    for _ in range(2):
        assert (await definitions.agents())["two"].harness == "claude-code"
    assert loaded[4:] == ["two"]
    definitions.close()
