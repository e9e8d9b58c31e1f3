"""An agent turns the tmux server, which is its user's, against agentd and its fellows."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.fuzz.crowd import latency
from tests.security.users import AGENT_USER, account, start_guarded
from tests.support.daemon import Daemon

pytestmark = pytest.mark.crowd

SLOWEST = 1000.0
"""Milliseconds that an administrator waits for an answer at most."""
GRACE = 1.0
STOPS_WITHIN = 2 * GRACE + 8.0
"""Seconds on a loaded machine: the grace period, and what the tmux server has to end before it is killed."""
ALONE = "exec 9>>lock; flock -n 9 || echo two >>overlap; id -u >>users; exec sleep 600"
"""An agent that notices another run of itself, for as long as anything of that lives."""
TRAP = "run-shell -b 'id -u >>{}/users'"


class Attacker:
    """The agents' user at work."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._user = account(AGENT_USER)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            words, user=self._user.pw_uid, group=self._user.pw_gid, extra_groups=[], cwd="/",
            env={"PATH": os.environ["PATH"], "HOME": "/", "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def tmux(self, *lines: str) -> None:
        """Execute commands in one client each, whether tmux likes them or not."""
        for line in lines:
            with self.start("sh", "-c", f'exec tmux -S "$0" {line}', str(self._daemon.tmux_socket)) as client:
                try:
                    client.wait(2)
                except subprocess.TimeoutExpired:
                    client.kill()

    @contextlib.contextmanager
    def flood(self, number: int, line: str) -> Iterator[None]:
        """Go on with one command in several clients."""
        loop = f'while :; do timeout 1 tmux -S "$0" {line}; done'
        running = [self.start("sh", "-c", loop, str(self._daemon.tmux_socket)) for _ in range(number)]
        try:
            yield
        finally:
            for each in running:
                each.kill()
                each.wait()


HOOKS = (
    "after-new-session", "session-created", "pane-died", "pane-exited", "after-list-panes", "after-display-message",
    "after-respawn-pane", "client-attached", "after-set-option", "after-kill-pane", "after-send-keys",
)  # fmt: skip

ATTACKS = {
    "sessions are closed as they are made": ["set-hook -g after-new-session kill-session", "kill-session -t =a"],
    "sessions are renamed as they are made": [
        "set-hook -g session-created 'rename-session mine'",
        "set-hook -g pane-died 'kill-server'",
        "rename-session -t =a mine",
    ],
    "hooks run programs": [*(f'set-hook -g {hook} "{TRAP}"' for hook in HOOKS), "kill-session -t =a"],
    "commands never end": [f"set-hook -g {hook} 'wait-for never'" for hook in HOOKS],
    "options are changed": [
        "set-option -g default-command 'id -u'", "set-option -g default-shell /bin/false",
        "set-option -g remain-on-exit on", "set-option -g history-limit 1", "set-option -s exit-empty on",
        "set-option -s command-alias[0] 'list-panes=kill-server'", "bind-key -n a kill-server",
        "respawn-pane -k -t =a:0",
    ],
    "another agent's pane is taken over": ["pipe-pane -t =a:0 'cat >/dev/null'", "respawn-pane -k -t =a:0 'sleep 601'"],
    "clients are thrown out": [
        "lock-server", "switch-client -c /dev/ptmx -t =a", "detach-client -a", "detach-client -s =agentd",
        "kill-session -t =agentd",
    ],
    "the server is ended": ["kill-server", "kill-server"],
    "many sessions": [" ';' ".join(f"new-session -d -s x{each} 'sleep 601'" for each in range(200))],
}  # fmt: skip


@pytest.fixture
def attacker(guarded: Daemon) -> Attacker:
    """With an agent to attack, in a daemon that root runs."""
    agent = {"name": "a", "command": ["sh", "-c", ALONE], "workdir": "work", "restart": "always"}
    start_guarded(
        guarded,
        {**agent, "restart_delay": "10ms", "grace_period": f"{GRACE}s"},
        flags=["--interval=200ms"],
    )
    guarded.wait_state("a", "running")
    return Attacker(guarded)


def _watched(daemon: Daemon, seconds: float) -> None:
    """Ask as an administrator does, while the attack goes on."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert latency(daemon.api_socket, 3).worst < SLOWEST


def _harmless(daemon: Daemon) -> None:
    """Nothing ran as root, and no two runs of the agent at once."""
    assert not (daemon.workdir / "overlap").exists()
    assert set((daemon.workdir / "users").read_text().split()) == {str(account(AGENT_USER).pw_uid)}


def _stops(daemon: Daemon) -> None:
    began = time.monotonic()
    assert daemon.stop(40) == 0
    assert time.monotonic() - began < STOPS_WITHIN, daemon.explain()
    assert daemon.left_behind() == []


def _attack(attacker: Attacker, daemon: Daemon, lines: Sequence[str]) -> None:
    attacker.tmux(*(line.replace("{}", str(Path(daemon.workdir))) for line in lines))


def _give_up(attacker: Attacker, daemon: Daemon) -> None:
    attacker.tmux(" ';' ".join(f"set-hook -gu {hook}" for hook in HOOKS), "wait-for -S never")
    daemon.wait_for(lambda: "a" in daemon.sessions(), 15, what="the agent's session is there")


@pytest.mark.parametrize("lines", ATTACKS.values(), ids=ATTACKS)
def test_a_hostile_server_holds_up_nothing_and_its_agents_run_again(
    attacker: Attacker, guarded: Daemon, lines: Sequence[str]
) -> None:
    _attack(attacker, guarded, lines)
    _watched(guarded, 0.2)
    _give_up(attacker, guarded)
    guarded.wait_state("a", "running")
    _harmless(guarded)
    _stops(guarded)


@pytest.mark.parametrize("attack", ["hooks run programs", "commands never end", "clients are thrown out"])
def test_agentd_ends_in_time_while_the_server_is_hostile(attacker: Attacker, guarded: Daemon, attack: str) -> None:
    _attack(attacker, guarded, ATTACKS[attack])
    _stops(guarded)
    _harmless(guarded)


def test_an_agent_whose_pane_was_taken_over_has_ended_and_runs_again(attacker: Attacker, guarded: Daemon) -> None:
    before = guarded.agents()["a"]["pid"]
    _attack(attacker, guarded, ATTACKS["another agent's pane is taken over"])
    guarded.wait_for(lambda: guarded.agents()["a"]["pid"] not in (before, None), what="another run")
    assert guarded.agents()["a"]["restarts"] == 1
    _harmless(guarded)


@pytest.mark.parametrize("line", ["rename-session -t =a x", "wait-for y"])
def test_a_flood_of_commands_holds_up_nothing(attacker: Attacker, guarded: Daemon, line: str) -> None:
    with attacker.flood(8, line):
        _watched(guarded, 0.5)
    guarded.wait_for(lambda: "a" in guarded.sessions(), what="the session has its name")
    guarded.wait_state("a", "running")
    _harmless(guarded)
