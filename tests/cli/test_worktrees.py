"""worktrees, diff and collect, with real git and a real daemon."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import Client, Finished
from tests.daemon.support import environment_of
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.worktrees.repositories import commit, git, make_repository

ROOT = os.geteuid() == 0
OTHER = "daemon"


def agent(name: str, **fields: object) -> dict[str, object]:
    return {"name": name, "command": ["sh", "-c", "echo at work; exec cat"], "grace_period": "20s", **fields}


def worker(name: str, **fields: object) -> dict[str, object]:
    return agent(name, repo="shop", isolation="worktree", **fields)


@pytest.fixture
def repo(daemon: Daemon) -> Path:
    return make_repository(daemon.folder / "shop")


def client_of(daemon: Daemon) -> Client:
    return Client(daemon.folder, daemon.places)


@pytest.fixture
def client(daemon: Daemon, repo: Path) -> Client:
    """A daemon with two agents in worktrees of one repository."""
    assert repo.exists()
    daemon.write_jcard(jcard(worker("alice"), worker("bob"), agent("plain")))
    daemon.start()
    for name in ("alice", "bob", "plain"):
        daemon.wait_state(name, "running")
    return client_of(daemon)


def rows(done: Finished) -> dict[str, list[str]]:
    return {row[0]: row[1:] for row in done.rows}


def test_worktrees_are_listed_with_what_is_nowhere_else(client: Client, daemon: Daemon) -> None:
    tree = daemon.data / "worktrees" / "alice"
    (tree / "new.txt").write_text("work\n")
    commit(tree, "work")
    (tree / "other.txt").write_text("work\n")
    assert rows(client("worktrees", "list")) == {
        "alice": ["running", "agentd/alice", "1", "1", str(tree)],
        "bob": ["running", "agentd/bob", "0", "0", str(daemon.data / "worktrees" / "bob")],
    }
    [document] = json.loads(client("worktrees", "list", "ALICE", "--json").out)
    assert document["uncommitted"] == ["other.txt"]
    assert (document["declared"], document["unmerged"]) == (True, 1)
    assert 'no worktree of "plain": there are worktrees of alice, bob' in client("diff", "plain").err
    assert 'no agent "alic": did you mean alice?' in client("diff", "alic").err
    # Where no daemon answers, git still does.
    daemon.kill()
    assert rows(client("worktrees", "list"))["alice"][0] == "unknown"
    daemon.start()


def test_only_what_nobody_uses_is_cleaned(client: Client, daemon: Daemon, repo: Path) -> None:
    trees = daemon.data / "worktrees"
    assert client("worktrees", "clean").out == "nothing to clean\n"
    named = client("worktrees", "clean", "alice", "--force", "--ignored")
    assert named.status == 1
    assert "declared or still running" in named.out
    (trees / "bob" / "new.txt").write_text("work\n")
    daemon.write_jcard(jcard(agent("plain"), worker("alice", enabled=False)))
    daemon.wait_gone("bob")
    # A disabled agent is declared; one that is not keeps its work.
    dry = client("worktrees", "clean", "--dry-run", "--force")
    assert dry.out.startswith(f"would remove bob: {trees}/bob and branch agentd/bob\n")
    done = client("worktrees", "clean")
    assert done.status == 0
    assert done.out == "kept bob: 1 uncommitted file (new.txt); --force saves it and removes the worktree\n"
    assert client("worktrees", "clean", "bob").status == 1
    assert (trees / "bob" / "new.txt").read_text() == "work\n"

    forced = client("worktrees", "clean", "bob", "--force")
    assert forced.status == 0
    assert not (trees / "bob").exists()
    commands = [line.strip() for line in forced.out.splitlines() if line.startswith("    git ")]
    for command in commands:
        subprocess.run(["sh", "-c", command], check=True, capture_output=True)
    assert git(repo, "show", "recovered-work:new.txt") == "work"
    assert (trees / "alice").exists()


@pytest.mark.thorough
def test_what_is_in_use_must_be_known_to_clean(client: Client, daemon: Daemon) -> None:
    daemon.write_jcard("[agent]\nharness = 5\n")
    done = client("worktrees", "clean")
    assert done.status == 1
    assert "cannot tell which worktrees are in use" in done.err
    daemon.kill()
    daemon.jcard.unlink()
    assert client("worktrees", "clean").status == 1
    assert (daemon.data / "worktrees" / "alice").exists()
    daemon.write_jcard(jcard(agent("plain")))
    # They run on without a daemon and without a declaration.
    kept = client("worktrees", "clean", "--force", "--ignored")
    assert kept.out.count("processes are in it") == 2
    daemon.start()


@pytest.mark.thorough
def test_a_diff_is_a_patch_that_git_applies(client: Client, daemon: Daemon, repo: Path) -> None:
    tree = daemon.data / "worktrees" / "alice"
    (tree / "a.txt").write_text("one\n2\n")
    commit(tree, "work")
    (tree / "new.txt").write_text("new\x1b[2J\n")
    done = client("diff", "alice")
    subprocess.run(["git", "-C", repo, "apply", "-"], input=done.out.encode(), check=True)
    assert (repo / "new.txt").read_text() == "new\x1b[2J\n"
    stat = client("diff", "alice", "--stat")
    assert stat.out.splitlines()[-1] == " 2 files changed, 2 insertions(+), 1 deletion(-)"
    document: Any = client("diff", "alice", "--json").document
    assert [file["path"] for file in document["files"]] == ["a.txt", "new.txt"]
    assert document["patch"] == done.out
    assert client("diff", "bob").out == ""
    missing = client("diff", "plain")
    assert missing.status == 1
    assert "there are worktrees of alice, bob" in missing.err


def test_what_an_agent_did_is_collected_in_a_folder(client: Client, daemon: Daemon, repo: Path) -> None:
    tree = daemon.data / "worktrees" / "alice"
    (tree / "a.txt").write_text("one\n2\n")
    (tree / "deep").mkdir()
    (tree / "deep" / "run").write_text("#!/bin/sh\n")
    (tree / "deep" / "run").chmod(0o755)
    commit(tree, "work")
    (tree / "link").symlink_to("/etc/passwd")
    (tree / "deep" / "inside").symlink_to("../a.txt")
    (tree / ".gitattributes").write_text("* export-ignore\n")
    (tree / ".gitignore").unlink()
    folder = daemon.folder / "out" / "alice"
    done = client("collect", "Alice", "--output", folder)
    assert done.out == f"{folder}\n"
    assert 'not in files: "link", a link that leads outside, to "/etc/passwd"' in done.err
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["version"], manifest["name"], manifest["agent"]["state"]) == (1, "alice", "running")
    assert (manifest["exit_code"], manifest["exit_signal"]) == (None, None)
    worktree = manifest["worktree"]
    assert [each["subject"] for each in worktree["commits"]] == ["work"]
    changed = {file["path"]: file["status"] for file in worktree["changed"]}
    assert changed == {
        "a.txt": "M",
        "deep/inside": "A",
        "deep/run": "A",
        "link": "A",
        ".gitattributes": "A",
        ".gitignore": "D",
    }
    files = folder / "files"
    assert (files / "a.txt").read_text() == "one\n2\n"
    assert (files / "deep" / "run").stat().st_mode & 0o777 == 0o700
    assert (files / "deep" / "inside").readlink() == Path("../a.txt")
    assert not os.path.lexists(files / "link")
    assert [left["path"] for left in worktree["not_written"]] == ["link"]
    assert (folder / "transcript.txt").read_text().startswith("at work\n")
    git(repo, "apply", "--index", folder / "changes.patch")
    git(repo, "reset", "-q", "--hard")
    git(repo, "fetch", "-q", folder / "commits.bundle", "HEAD")
    assert git(repo, "rev-parse", "FETCH_HEAD") == worktree["head"]
    again = client("collect", "alice", "--output", folder)
    assert again.status == 1
    assert "exists" in again.err

    # An agent without a worktree, and a worktree without an agent.
    plain: Any = client("collect", "plain", "--json").document
    assert (plain["worktree"], plain["transcript"]["lines"]) == (None, 1)
    assert Path(plain["folder"]).name.startswith("plain-collected-")
    daemon.write_jcard(jcard(agent("plain")))
    daemon.wait_gone("alice")
    left: Any = client("collect", "alice", "--json", "--output", "left").document
    assert (left["agent"], left["transcript"], left["worktree"]["branch"]) == (None, None, "agentd/alice")
    assert client("collect", "nobody").status == 1


@pytest.mark.thorough
def test_in_a_git_hook_of_another_repository_the_right_ones_are_looked_at(client: Client, daemon: Daemon) -> None:
    tree = daemon.data / "worktrees" / "alice"
    (tree / "new.txt").write_text("work\n")
    commit(tree, "work")
    (tree / "later.txt").write_text("not committed\n")
    # Not one whose trust agentd would write into the home of its user, who is root's here.
    harness = daemon.bin / "opencode"
    harness.write_text("#!/bin/sh\nexec sleep 600\n")
    harness.chmod(0o755)
    other = make_repository(daemon.folder / "other", b="another\n")
    out = daemon.folder / "out"
    hook = other / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir()
    # git commit --only gives the hook an index of its own.
    hook.write_text(
        "#!/bin/sh\nset -ex\n"
        f"export GIT_WORK_TREE={other} GIT_DIR={other}/.git\n"
        f'test "$GIT_INDEX_FILE" != .git/index\n'
        f"agentctl diff alice --stat >{daemon.folder}/stat\n"
        f"agentctl worktrees list --json >{daemon.folder}/list\n"
        f"agentctl collect alice --output {out}\n"
        "agentctl hire engineer eve --harness opencode\n"
    )
    hook.chmod(0o755)
    (other / "b.txt").write_text("changed\n")
    committed = client.shell(f"git -C {other} -c user.name=a -c user.email=a@b commit -q -m second --only b.txt")
    assert committed.status == 0, committed.err

    assert "2 files changed, 2 insertions(+)" in (daemon.folder / "stat").read_text()
    listed = {each["name"]: each["unmerged"] for each in json.loads((daemon.folder / "list").read_text())}
    assert listed == {"alice": 1, "bob": 0}
    worktree = json.loads((out / "manifest.json").read_text())["worktree"]
    assert worktree["head"] == git(tree, "rev-parse", "HEAD")
    assert {file["path"] for file in worktree["changed"]} == {"new.txt", "later.txt"}
    assert (out / "files" / "later.txt").read_text() == "not committed\n"
    hired = daemon.agents()["engineer_eve"]
    assert hired["pid"] is not None
    assert not [name for name in environment_of(hired["pid"]) if name.startswith("GIT_")]
    # Neither that repository nor its index was touched.
    assert git(other, "show", "--name-only", "--format=%s").split() == ["second", "b.txt"]
    assert git(other, "status", "--porcelain") == ""
    assert git(other, "for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert git(tree, "status", "--porcelain") == "?? later.txt"


@pytest.mark.thorough
@pytest.mark.skipif(not ROOT, reason="only root can run agents as another user")
def test_root_looks_into_another_users_worktree_as_that_user(daemon: Daemon) -> None:
    account = pwd.getpwnam(OTHER)
    tmux_folder = daemon.runtime / "tmux"
    tmux_folder.mkdir(mode=0o750)
    os.chown(tmux_folder, account.pw_uid, account.pw_gid)
    daemon.tmux_socket = tmux_folder / "tmux.sock"
    repo = make_repository(daemon.workdir / "shop")
    for path in [daemon.workdir, repo, *repo.rglob("*")]:
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    daemon.write_jcard(jcard(agent("alice", repo="work/shop", isolation="worktree"), agent("plain", workdir="/")))
    daemon.start(f"--agent-user={OTHER}")
    daemon.wait_state("alice", "running")
    tree = daemon.data / "worktrees" / "alice"
    # What git would run for whoever looks, and a link to what only root may read.
    secret = daemon.folder / "secret"
    secret.write_text("of root\n")
    secret.chmod(0o600)
    config = (
        f'[core]\n\tfsmonitor = "id -u >>{daemon.workdir}/ran; false"\n'
        f'[filter "x"]\n\tclean = "id -u >>{daemon.workdir}/filtered; cat"\n'
    )
    with (repo / ".git" / "config").open("a") as file:
        file.write(config)
    (tree / ".gitattributes").write_text("*.txt filter=x\n")
    (tree / "new.txt").write_text("new\n")
    (tree / "link").symlink_to(secret)
    for name in (".gitattributes", "new.txt", "link"):
        os.chown(tree / name, account.pw_uid, account.pw_gid, follow_symlinks=False)
    client = client_of(daemon)
    assert "+new" in client("diff", "alice").out
    assert client("collect", "alice", "--output", "out").status == 0
    assert not os.path.lexists(daemon.folder / "out" / "files" / "link")
    daemon.write_jcard(jcard(agent("plain", workdir="/")))
    daemon.wait_gone("alice")
    assert client("worktrees", "clean", "--force", "--ignored").status == 0
    assert not tree.exists()
    assert not (daemon.workdir / "ran").exists()
    assert set((daemon.workdir / "filtered").read_text().split()) == {str(account.pw_uid)}
    mine = {path for path in (repo / ".git").rglob("*") if path.lstat().st_uid != account.pw_uid}
    assert mine == set()


@pytest.mark.thorough
def test_the_doctor_names_worktrees_that_no_agent_has_and_empty_submodules(
    client: Client, daemon: Daemon, repo: Path
) -> None:
    library = make_repository(daemon.folder / "library")

    def told() -> list[tuple[str, str]]:
        found = json.loads(client("doctor", "--json").out)["findings"]
        return [(each["level"], each["text"]) for each in found if each["topic"] == "worktrees"]

    assert told() == []
    git(repo, "-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(library), "vendored")
    commit(repo, "a library")
    daemon.write_jcard(jcard(worker("alice"), agent("plain"), worker("carol")))
    daemon.wait_state("carol", "running")
    daemon.wait_gone("bob")
    assert sorted(told()) == [
        ("note", "no agent uses the worktrees of bob"),
        ("warning", "carol: the submodules vendored are empty folders"),
    ]
    daemon.write_jcard("[[agents]]\nname = 1\n")
    daemon.wait_for(lambda: not daemon.health()["config"]["valid"], what="the daemon refuses the jcard")
    assert [level for level, _ in told()] == ["warning"], "who has which cannot be told"
