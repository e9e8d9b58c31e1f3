"""What agents and their tmux say reaches the terminals of those who look after them as text, never as commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.text.quoting import visible
from agentd.text.terminal import harmless
from tests.daemon.support import script, start
from tests.support.daemon import Daemon, program
from tests.support.forked import run_agentctl
from tests.support.thorough import everyday

ESCAPES = [
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x1b]52;c;YQ==\x1b\\",
    "\x1bP+q\x1b\\",
    "\x9b2J",
    "\x9d0;x\x9c",
    "\x07",
    "\x08",
    "\x0e",
    "\r",
]
"""Clear the screen, set the title and the clipboard, query, the same with C1, bell, backspace, charset, overwrite."""
ALL_ESCAPES = " ".join(["first", *ESCAPES, "last"])

_CONTROL = {*map(chr, range(32)), *map(chr, range(127, 160))} - {"\t", "\n"}


def acts_on_a_terminal(text: str) -> bool:
    """Whether there is any control character but line breaks and tabs."""
    return any(character in _CONTROL for character in text)


@given(st.lists(st.one_of(st.text(max_size=10), st.sampled_from([*ESCAPES, "\x1b[31m", "\x1b[0m"]))).map("".join))
def test_of_control_characters_only_tabs_and_styles_pass(text: str) -> None:
    shown = harmless(text)
    without_styles = shown.replace("\x1b[31m", "").replace("\x1b[0m", "")
    assert not any(character in _CONTROL for character in without_styles if character != "\x1b")
    assert all(part[:1] == "[" and "m" in part for part in without_styles.split("\x1b")[1:])
    if not acts_on_a_terminal(text):
        assert shown == visible(text).replace("\n", "\\x0a"), "a line break would make two lines of one"


def agentctl(daemon: Daemon, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    env = {
        **daemon.environment(),
        "AGENTD_API_SOCKET": str(daemon.api_socket),
        "AGENTD_TMUX_SOCKET": str(daemon.tmux_socket),
        **env,
    }
    return run_agentctl([program("agentctl"), *arguments], env=env, cwd=Path.cwd(), timeout=30)


@pytest.mark.parametrize("log_format", everyday(["console"], ["console", "json"]))
def test_a_forged_report_of_a_launcher_writes_no_escapes_into_log_and_status(daemon: Daemon, log_format: str) -> None:
    start(daemon, script("a", "sleep 600"), flags=[f"--log-format={log_format}"])
    pid = daemon.wait_state("a", "running")["pid"]
    assert pid is not None
    launcher = psutil.Process(pid).ppid()
    daemon.kill()
    # While it lives, no report of its failure is believed.
    for each in (launcher, pid):
        os.kill(each, signal.SIGKILL)
    daemon.wait_for(lambda: "a" not in daemon.sessions(), what="its session is closed")
    (record,) = Path(f"{daemon.tmux_socket}.runs").glob("*.record")
    record.with_suffix(".pid").unlink(missing_ok=True)
    record.with_suffix(".exit").write_text(f"launch-failed {ALL_ESCAPES}\n", encoding="utf-8")
    daemon.start(f"--log-format={log_format}")
    agent = daemon.wait_state("a", "failed")
    assert agent["error"] is not None
    assert "\x1b" in agent["error"], "the API gives what was said; JSON escapes it"
    daemon.wait_for(lambda: "first" in daemon.log_text())
    assert not acts_on_a_terminal(daemon.log_text())
    for arguments in (
        ["status"],
        ["status", "a"],
        ["status", "--json"],
        ["wait", "a", "--for", "running", "--timeout=0s"],
    ):
        done = agentctl(daemon, *arguments)
        assert "first" in done.stdout + done.stderr
        assert not acts_on_a_terminal(done.stdout + done.stderr), arguments


def wait_for_log(daemon: Daemon, name: str, text: str) -> None:
    daemon.wait_for(lambda: text in agentctl(daemon, "logs", name).stdout, what=f"the log of {name} shows {text}")


@pytest.fixture
def lying_tmux(daemon: Daemon) -> Path:
    """A stand-in for what a tmux server in the agents' hands makes tmux print."""
    tmux = daemon.folder / "lying" / "tmux"
    tmux.parent.mkdir()
    tmux.with_name("says").write_text(ALL_ESCAPES, encoding="utf-8")
    tmux.with_name("panes").write_text("%0 4242 /dev/pts/9 /bin/sh /somewhere/run.sh\n")
    tmux.write_text(
        f'#!/bin/sh\ncd "{tmux.parent}"\ncase "$*" in *list-panes*) cat panes; exit;; esac\n'
        "cat says\necho\n[ ! -e fails ] || exit 1\n"
    )
    tmux.chmod(0o755)
    return tmux


def test_what_a_lying_tmux_server_says_is_shown_as_text(daemon: Daemon, lying_tmux: Path) -> None:
    """Where agentctl asks it itself, because no daemon answers."""
    start(daemon, script("a", "sleep 600"))
    daemon.wait_state("a", "running")
    path = f"{lying_tmux.parent}{os.pathsep}{daemon.environment()['PATH']}"
    for arguments in (["screen", "a"], ["screen", "a", "--json"]):
        done = agentctl(daemon, *arguments, PATH=path, AGENTD_API_SOCKET="gone.sock")
        assert done.returncode == 0, done.stderr
        assert "first" in done.stdout
        assert not acts_on_a_terminal(done.stdout + done.stderr), arguments
    lying_tmux.write_text(lying_tmux.read_text().replace("\necho\n", " >&2\n"))
    lying_tmux.with_name("fails").touch()
    done = agentctl(daemon, "screen", "a", PATH=path, AGENTD_API_SOCKET="gone.sock")
    assert done.returncode == 1
    assert not acts_on_a_terminal(done.stdout + done.stderr)


@pytest.mark.parametrize(
    "panes",
    [
        *("", "one", "%0 4242", ALL_ESCAPES, "%0 x /dev/pts/9 /bin/sh /r.sh", "-t 1 /dev/pts/9 /bin/sh /r.sh"),
        *("%0 4242 /dev/pts/9 sleep 600", "%0 4242 /etc/shadow /bin/sh /r.sh", "%0 4242 /bin/sh /r.sh"),
    ],
)
def test_panes_that_no_agentd_opened_are_not_taken_for_an_agents(daemon: Daemon, lying_tmux: Path, panes: str) -> None:
    lying_tmux.with_name("panes").write_text(panes + "\n", encoding="utf-8")
    path = f"{lying_tmux.parent}{os.pathsep}{daemon.environment()['PATH']}"
    done = agentctl(daemon, "screen", "a", PATH=path, AGENTD_API_SOCKET="gone.sock")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("agentctl: agentd is not reachable on ")


def test_what_an_agent_prints_is_shown_as_text_in_logs_and_screen(daemon: Daemon) -> None:
    said = daemon.folder / "said"
    said.write_text(ALL_ESCAPES + "\n", encoding="utf-8")
    ends, stays = script("ends", f"cat {said}"), script("stays", f"cat {said}; sleep 600")
    start(daemon, ends, stays)
    daemon.wait_state("ends", "exited")
    daemon.wait_for(lambda: "last" in daemon.screen("stays"))
    for name in ("ends", "stays"):
        wait_for_log(daemon, name, "last")
        for arguments in (["logs", name], ["logs", name, "--json"], ["screen", name], ["events"]):
            done = agentctl(daemon, *arguments)
            assert done.returncode == 0, done.stderr
            assert not acts_on_a_terminal(done.stdout + done.stderr), arguments
    done = agentctl(daemon, "logs", "ends", "--raw")
    assert "\x1b]0;title\x07" in done.stdout, "only this shows what was printed as it was printed"


def test_names_in_a_jcard_reach_log_api_and_check_as_text(daemon: Daemon) -> None:
    evil = json.dumps(ALL_ESCAPES)  # TOML takes the same escapes
    daemon.write_jcard(
        f"[[agents]]\nname = {evil}\nharness = {evil}\nworkdir = {evil}\nsession = {evil}\n"
        f"{evil} = 1\nrestart = {evil}\n"
        f"[agents.env]\n{evil} = 1\n"
    )
    daemon.start("--log-format=console")
    daemon.wait_for(lambda: daemon.health()["config"]["error"] != "not read yet", what="the jcard was read")
    error = daemon.health()["config"]["error"] or ""
    assert "first" in error
    assert not acts_on_a_terminal(error)
    assert not acts_on_a_terminal(daemon.log_text())
    for arguments in (["status"], ["validate", str(daemon.jcard)]):
        done = agentctl(daemon, *arguments)
        assert not acts_on_a_terminal(done.stdout + done.stderr), arguments
