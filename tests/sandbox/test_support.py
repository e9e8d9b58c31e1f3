"""Where no sandbox can be made, the reason says what to install or to allow."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from agentd.cli.agentctl.doctor.finding import Level
from agentd.cli.agentctl.doctor.sandbox import check_sandbox
from agentd.model.destinations import Destination
from agentd.model.spec import AgentSpec, AgentType, EgressSecret, Network, SandboxKind, SandboxSpec
from agentd.model.user import AgentUser
from agentd.sandbox.engines import Where, look
from agentd.sandbox.support import SandboxError
from agentd.settings.context import resolve_agent_user
from agentd.settings.go_flags import runsc_in
from agentd.settings.settings import Runsc
from tests.sandbox.conftest import AGENT_USER, Sandboxed
from tests.support.agents import jcard

NATIVE = AgentSpec("a", "custom", "a", Path("/srv"))
DATA = Path("/data")
SECRET = EgressSecret("KEY", (Destination("api.example.com", 443),))
SANDBOXED = replace(NATIVE, type=AgentType.SANDBOXED)


@pytest.fixture
def user() -> AgentUser:
    """Whom agents run as."""
    return resolve_agent_user(AGENT_USER if os.geteuid() == 0 else None, os.environ)[0]


def failing(folder: Path) -> dict[str, str]:
    """An environment in which bubblewrap may not make user namespaces."""
    folder.chmod(0o755)
    program = folder / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def test_without_bubblewrap_its_package_is_named(user: AgentUser, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="apt-get install bubblewrap"):
        look(None, Where(user, {"PATH": str(tmp_path)}))


def runsc(folder: Path, says: str) -> Path:
    """A stand-in that says it is a version."""
    folder.chmod(0o755)
    program = folder / "runsc"
    program.write_text(f"#!/bin/sh\necho 'runsc version {says}'\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("says", ["0.0~20221219.0", "VERSION_MISSING"])
def test_an_old_runsc_is_refused_with_the_version_found_and_needed(
    user: AgentUser, short_folder: Path, says: str
) -> None:
    program = runsc(short_folder, says)
    with pytest.raises(SandboxError) as caught:
        look(SandboxKind.GVISOR, Where(user, os.environ, Runsc(program)))
    assert str(program) in str(caught.value)
    assert f"'runsc version {says}'" in str(caught.value)
    assert "20240101 or later" in str(caught.value)


def test_without_runsc_it_is_said_where_to_get_it(user: AgentUser, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="needs runsc of 20240101 or later, and there is none"):
        look(SandboxKind.GVISOR, Where(user, {"PATH": str(tmp_path)}))


def test_by_default_what_there_is_is_used_bubblewrap_first(user: AgentUser, short_folder: Path) -> None:
    runsc(short_folder, "release-20250101.0")
    for name in ("unshare", "true"):
        (short_folder / name).symlink_to(shutil.which(name) or name)
    environ = {"PATH": str(short_folder)}
    assert look(None, Where(user, environ)).kind is SandboxKind.GVISOR
    (short_folder / "bwrap").symlink_to(shutil.which("true") or "true")
    assert look(None, Where(user, environ)).kind is SandboxKind.BUBBLEWRAP


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="there is no sandbox without bubblewrap")
def test_root_is_held_by_no_sandbox(user: AgentUser) -> None:
    with pytest.raises(SandboxError, match="--agent-user"):
        look(None, Where(replace(user, uid=0), os.environ))


@pytest.mark.parametrize(
    ("setting", "value", "advice"),
    [
        ("kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=15000"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
    ],
)
def test_the_setting_that_forbids_it_is_named(
    user: AgentUser, short_folder: Path, setting: str, value: str, advice: str
) -> None:
    environ = failing(short_folder)
    sysctls = short_folder / "sys"
    for name in ("kernel", "user"):
        (sysctls / name).mkdir(parents=True)
    (sysctls / "kernel/unprivileged_userns_clone").write_text("1\n")
    (sysctls / setting).write_text(value + "\n")
    with pytest.raises(SandboxError) as caught:
        look(None, Where(user, environ, sysctls=sysctls))
    assert "setting up uid map: Permission denied" in str(caught.value)
    assert advice in str(caught.value)
    (sysctls / setting).write_text("5\n")
    with pytest.raises(SandboxError) as caught:
        look(None, Where(user, environ, sysctls=sysctls))
    assert "sysctl" not in str(caught.value)


def test_doctor_says_whether_those_there_are_can_run(
    user: AgentUser, short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = failing(short_folder)
    assert not [*check_sandbox([NATIVE], user, environ, DATA)]
    [finding] = check_sandbox([NATIVE, SANDBOXED], user, environ, DATA)
    assert finding.level is Level.ERROR
    assert "Permission denied" in finding.text
    if shutil.which("bwrap") is not None:
        can, *others = check_sandbox([SANDBOXED], user, os.environ, DATA)
        assert can.level is Level.OK
        assert 'agent "a" can run by bubblewrap (' in can.text
        assert "may write /srv, its home in /data/sandboxes/a" in can.text
        [found] = others
        assert (found.level, found.text) == (
            Level.NOTE,
            'agent "a" reaches what this machine does, its loopback and abstract sockets too',
        )
        [cannot] = check_sandbox([SANDBOXED], replace(user, uid=0), os.environ, DATA)
        assert cannot.level is Level.ERROR
        assert "--agent-user" in cannot.text
        lonely = replace(SANDBOXED, sandbox=SandboxSpec(network=Network.NONE, egress_secrets=(SECRET,)))
        monkeypatch.setattr("agentd.cli.agentctl.doctor.sandbox.OPENSSL", "no-openssl")
        [_, missing] = check_sandbox([lonely], user, os.environ, DATA)
        assert (missing.level, missing.advice) == (Level.ERROR, "apt-get install openssl")


def test_what_goes_wrong_at_a_launch_is_the_agents_error(sandboxed: Sandboxed) -> None:
    """Bubblewrap itself says nothing when the agent is launched; a trial is made to hear it."""
    programs = sandboxed.daemon.folder / "programs"
    programs.mkdir()
    program = programs / "bwrap"
    real = shutil.which("bwrap")
    failing_launch = f'case "$*" in *--seccomp*) echo "bwrap: no room" >&2; exit 1;; *) exec {real} "$@";; esac'
    program.write_text(f"#!/bin/sh\n{failing_launch}\n")
    program.chmod(0o755)
    agent = {"name": "a", "type": "sandboxed", "command": ["true"], "workdir": "work"}
    sandboxed.start(jcard(agent), path=str(programs))
    assert sandboxed.daemon.wait_state("a", "failed")["error"] == "the sandbox cannot be made: bwrap: no room"


@pytest.mark.parametrize(
    ("command", "runsc"),
    [
        (["python3", "/bin/agentd", "-runsc-path", "/x/runsc", "--debug"], Runsc(Path("/x/runsc"))),
        (["agentd", "--runsc-path=/x", "-sandbox-state-dir=/s"], Runsc(Path("/x"), Path("/s"))),
        (["agentd", "--sandbox-bundle-dir", "/b"], Runsc(None, None, Path("/b"))),
        (["agentd", "--config", "/c", "runsc-path", "-runsc-path"], Runsc()),
    ],
)
def test_a_daemons_command_line_says_where_runsc_is(command: list[str], runsc: Runsc) -> None:
    assert runsc_in(command) == runsc
