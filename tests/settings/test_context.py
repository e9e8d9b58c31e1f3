from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from agentd.settings.context import (
    LARGEST_CONFIG,
    ConfigUnavailableError,
    load_context,
    read_config,
    resolve_agent_user,
)
from agentd.settings.folders import SettingsError

ROOT = os.geteuid() == 0
HAS_AGENT = any(entry.pw_name == "agent" for entry in pwd.getpwall())


def too_large(path: Path) -> None:
    path.touch()
    os.truncate(path, LARGEST_CONFIG + 1)


def test_a_config_is_read_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "jcard.toml"
    path.write_bytes(b"\xff\r\n")
    assert read_config(path) == b"\xff\r\n"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Path.exists, "no such file"),
        (Path.touch, "zero bytes"),
        (Path.mkdir, "is a folder"),
        (os.mkfifo, "not a regular file"),
        (lambda path: path.symlink_to(path), "symbolic links"),
        (too_large, "larger than"),
    ],
    ids=["missing", "empty", "folder", "fifo", "loop", "large"],
)
def test_what_is_no_config_is_told_with_its_path(tmp_path: Path, make: object, message: str) -> None:
    path = tmp_path / "jcard.toml"
    assert callable(make)
    make(path)
    with pytest.raises(ConfigUnavailableError, match=f"^{path}: .*{message}"):
        read_config(path)


@pytest.mark.parametrize(
    ("user", "workdir"), [("agent", Path("/home/agent/workspace")), ("ada", Path("/etc/x")), ("root", Path("/etc/x"))]
)
def test_the_default_workdir_is_the_agent_users_workspace_or_the_jcards_folder(user: str, workdir: Path) -> None:
    context = load_context(Path("/etc/x/jcard.toml"), user, Path("/h"), {}, Path("/data"))
    assert (context.folder, context.home, context.default_workdir) == (Path("/etc/x"), Path("/h"), workdir)


@pytest.mark.skipif(not ROOT, reason="what root decides")
def test_root_runs_agents_as_the_user_agent_or_else_as_itself_with_a_warning() -> None:
    user, warning = resolve_agent_user(None, {"HOME": "/elsewhere"})
    assert user.name == ("agent" if HAS_AGENT else "root")
    assert user.switch is HAS_AGENT
    assert (warning is None) is HAS_AGENT
    assert user.home == Path(pwd.getpwnam(user.name).pw_dir), "root's own HOME is not the agents'"


@pytest.mark.skipif(not ROOT, reason="what root may")
def test_root_may_name_the_agents_user() -> None:
    user, warning = resolve_agent_user("nobody", {})
    entry = pwd.getpwnam("nobody")
    assert (user.name, user.uid, user.gid, user.switch, warning) == ("nobody", entry.pw_uid, entry.pw_gid, True, None)
    assert user.gid in user.groups


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch) -> int:
    """Look like a user who is not root; only this process' idea of itself changes."""
    uid = pwd.getpwnam("nobody").pw_uid
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    return uid


def test_a_user_runs_agents_as_themselves_with_their_own_home_and_shell(as_user: int) -> None:
    user, warning = resolve_agent_user(None, {"HOME": "/h", "SHELL": "/bin/zsh"})
    assert (user.uid, user.home, user.shell, user.switch, warning) == (as_user, Path("/h"), "/bin/zsh", False, None)
    assert resolve_agent_user("nobody", {"HOME": "/h"})[0].name == "nobody"


@pytest.mark.usefixtures("as_user")
def test_only_root_may_name_another_user() -> None:
    with pytest.raises(SettingsError, match="only root can run agents as root"):
        resolve_agent_user("root", {"HOME": "/h"})


def test_a_user_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(SettingsError, match="there is no user 'no-such-user'"):
        resolve_agent_user("no-such-user", {"HOME": "/h"})


def test_a_user_without_an_entry_in_the_user_database_can_run_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 2_000_000_123)
    user, _ = resolve_agent_user(None, {"HOME": "/h"})
    assert (user.name, user.shell) == ("2000000123", "/bin/sh")
