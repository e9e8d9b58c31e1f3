"""The packaged user unit under a real systemd, for a user who lingers."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace

import pytest

from tests.support.agents import jcard
from tests.support.waiting import wait_for
from tests.systemd.conftest import JCARD, UNITS
from tests.systemd.machine import Installation, Machine
from tests.systemd.scopes import check_scope

USER = "ada"


@pytest.fixture(scope="module")
def service(machine: Machine) -> Installation:
    machine.run(f"useradd --create-home --shell /bin/bash {USER}; loginctl enable-linger {USER}")
    uid = machine.said(f"id -u {USER}")
    runtime = f"/run/user/{uid}"
    wait_for(lambda: machine.run(f"test -S {runtime}/systemd/private", check=False).returncode == 0, 30)
    machine.run(
        f"""
        python3 -m venv ~/.local/share/agentd-venv
        ~/.local/share/agentd-venv/bin/pip install --quiet agentd
        mkdir -p ~/.local/bin ~/.config/agentd ~/.config/systemd/user
        ln -s ~/.local/share/agentd-venv/bin/agentd ~/.local/bin/
        cp {UNITS.format("~/.local/share/agentd-venv")}/agentd-user.service ~/.config/systemd/user/agentd.service
        cat > ~/.config/agentd/jcard.toml <<'END'\n{JCARD}\nEND
        export XDG_RUNTIME_DIR={runtime}
        systemctl --user daemon-reload
        systemctl --user enable --quiet --now agentd
        """,
        user=USER,
    )
    environment = f"XDG_RUNTIME_DIR={runtime}"
    return Installation(
        machine,
        f"{runtime}/agentd/agentd.sock",
        USER,
        f"env {environment} systemctl --user",
        f"env {environment} journalctl --user-unit=agentd",
    )


@pytest.mark.parametrize(
    "verbs", [("restart agentd",), ("stop agentd", "start agentd"), ("kill --signal=KILL agentd",), ("daemon-reexec",)]
)
def test_agents_are_the_same_processes_after(verbs: tuple[str, ...], service: Installation) -> None:
    before = service.running_pids()
    daemon = service.main_pid()
    for verb in verbs:
        service.unit(verb)
    if verbs != ("daemon-reexec",):
        wait_for(lambda: service.main_pid() not in (0, daemon) and service.agents(), 60, explain=service.log)
    assert service.running_pids() == before
    assert "tmux_service_not_started" not in service.log()


def test_agents_are_in_a_unit_of_their_own_under_the_users_manager(service: Installation) -> None:
    pid = service.running_pids()["watcher"]
    groups = service.machine.said(f"cat /proc/{pid}/cgroup")
    assert f"user@{service.machine.said(f'id -u {USER}')}.service/agentd.slice/agentd-tmux-" in groups


def test_agents_inherit_the_users_environment_without_what_concerns_the_daemon(service: Installation) -> None:
    service.running_pids()
    names = {line.partition("=")[0] for line in service.machine.said("cat ~/environment", user=USER).splitlines()}
    assert "XDG_RUNTIME_DIR" in names
    assert not names & {
        "INVOCATION_ID", "JOURNAL_STREAM", "MANAGERPID", "NOTIFY_SOCKET", "SYSTEMD_EXEC_PID",
        "WATCHDOG_PID", "WATCHDOG_USEC",
    }  # fmt: skip


def test_an_agent_with_limits_is_in_a_scope_of_its_own(service: Installation) -> None:
    check_scope(service, "~/.config/agentd")
    service.running_pids()


def test_an_agentd_in_a_terminal_has_scopes_too(service: Installation) -> None:
    machine = service.machine
    text = jcard({"name": "limited", "command": ["sleep", "600"], "workdir": "~", "pid_limit": 20})
    names = {"config": "jcard.toml", "tmux-socket": "tmux", "api-socket": "api", "state-dir": "s", "data-dir": "d"}
    flags = " ".join(f"--{flag}=$HOME/term/{name}" for flag, name in names.items())
    # Not what systemd itself started: the shell is.
    terminal = f"systemd-run --user --quiet --unit=terminal sh -c '~/.local/bin/agentd {flags}; :'"
    runtime = f"XDG_RUNTIME_DIR=/run/user/{machine.said(f'id -u {USER}')}"
    machine.run(f"mkdir ~/term; printf %s {shlex.quote(text)} > ~/term/jcard.toml; {runtime} {terminal}", user=USER)
    shown = replace(service, api_socket=f"/home/{USER}/term/api")
    groups = machine.said(f"cat /proc/{shown.running_pids(1)['limited']}/cgroup")
    assert re.search(r"/agentd\.slice/agentd-\S+\.scope$", groups, re.MULTILINE), groups
    service.unit("stop terminal")


def test_the_gateway_is_served_by_its_own_unit_and_back_after_its_end(service: Installation) -> None:
    machine, venv, unit = service.machine, "~/.local/share/agentd-venv", "agentd-gateway"
    # No port: the network is that of the machine that runs the tests.
    sock = service.api_socket.replace("agentd.sock", "gateway.sock")
    machine.run(
        f"""
        {venv}/bin/pip install --quiet 'agentd[gateway]'
        ln -s {venv}/bin/{unit} ~/.local/bin/
        cp {UNITS.format(venv)}/{unit}-user.service ~/.config/systemd/user/{unit}.service
        echo '[gateway]
listen = ["unix:{sock}"]' >> ~/.config/agentd/jcard.toml
        """,
        user=USER,
    )
    service.unit("daemon-reload")
    service.unit(f"start {unit}")
    ask = f"curl --silent --show-error --max-time 10 --unix-socket {sock} http://localhost/health"
    assert json.loads(machine.said(ask, user=USER))["agentd"] == "reachable"
    service.unit(f"kill --signal=KILL {unit}")
    wait_for(lambda: machine.run(ask, user=USER, check=False).returncode == 0, 60, what="it is there again")
    service.unit(f"stop {unit}")
    assert machine.said(f"{service.systemctl} show --property=Result --value {unit}", user=USER) == "success"


def test_stopping_the_slice_too_ends_the_agents(service: Installation) -> None:
    before = service.running_pids()
    service.unit("stop agentd agentd.slice")
    alive = [pid for pid in before.values() if service.machine.run(f"test -d /proc/{pid}", check=False).returncode == 0]
    assert alive == []
