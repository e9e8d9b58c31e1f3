"""The packaged system unit under a real systemd: whatever happens to the daemon, the agents are the same processes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.waiting import wait_for
from tests.systemd.conftest import LATER
from tests.systemd.machine import Installation
from tests.systemd.scopes import check_scope

DROP_IN = "/etc/systemd/system/agentd.service.d/test.conf"


def drop_in(service: Installation, *lines: str) -> None:
    text = "\\n".join(("[Service]", *lines))
    service.machine.run(f"mkdir -p $(dirname {DROP_IN}); printf '{text}\\n' > {DROP_IN}; systemctl daemon-reload")


def wait_for_another_daemon(service: Installation, former: int) -> None:
    wait_for(
        lambda: service.main_pid() not in (0, former) and service.agents(),
        60,
        what="another daemon answers",
        explain=service.log,
    )


def the_unit_is_restarted(service: Installation) -> None:
    service.unit("restart agentd")


def the_unit_is_stopped_and_started(service: Installation) -> None:
    service.unit("stop agentd")
    assert service.agents() == ()
    service.unit("start agentd")


def every_process_of_the_unit_is_killed(service: Installation) -> None:
    service.unit("kill --signal=KILL agentd")


def the_daemon_hangs(service: Installation) -> None:
    drop_in(service, "WatchdogSec=2s")
    service.unit("restart agentd")
    hung = service.main_pid()
    service.machine.run(f"kill -STOP {hung}")
    wait_for_another_daemon(service, hung)
    assert "Watchdog timeout" in service.log()


def agentd_is_upgraded(service: Installation) -> None:
    service.machine.run("/opt/agentd/bin/pip install --quiet --no-deps /mnt/wheels/later/agentd-*.whl")
    service.unit("restart agentd")
    health = service.machine.said(f"curl -sS --unix-socket {service.api_socket} http://localhost/v1/health")
    assert f'"version":"{LATER}"' in health


def systemd_is_told_to_kill_the_whole_unit(service: Installation) -> None:
    drop_in(service, "KillMode=control-group")
    service.unit("restart agentd")


def systemd_itself_is_replaced(service: Installation) -> None:
    service.machine.run("systemctl daemon-reexec")
    service.unit("restart agentd")


@pytest.mark.parametrize(
    "happens",
    [
        the_unit_is_restarted,
        the_unit_is_stopped_and_started,
        every_process_of_the_unit_is_killed,
        the_daemon_hangs,
        agentd_is_upgraded,
        systemd_is_told_to_kill_the_whole_unit,
        systemd_itself_is_replaced,
    ],
)
def test_agents_are_the_same_processes_after(happens: Callable[[Installation], None], service: Installation) -> None:
    before = service.running_pids()
    daemon = service.main_pid()
    happens(service)
    wait_for_another_daemon(service, daemon)
    assert service.running_pids() == before
    assert [agent["restarts"] for agent in service.agents()] == [0, 0, 0]
    assert "left-over process" not in service.log()
    service.machine.run(f"rm -f {DROP_IN}; systemctl daemon-reload; systemctl restart agentd")


def test_agents_are_bound_by_nothing_that_binds_the_daemon(service: Installation) -> None:
    machine = service.machine
    pid = service.running_pids()["watcher"]
    assert "agentd.slice/agentd-tmux-" in machine.said(f"cat /proc/{pid}/cgroup")
    bounds = "grep -E '^(CapBnd|Seccomp_filters|NoNewPrivs)' /proc/{}/status"
    of_init, of_daemon = machine.said(bounds.format(1)), machine.said(bounds.format(service.main_pid()))
    assert machine.said(bounds.format(pid)) == of_init
    assert of_daemon != of_init
    assert machine.said(f"readlink /proc/{pid}/ns/mnt") == machine.said("readlink /proc/1/ns/mnt")
    open_files = "grep 'open files' /proc/{}/limits"
    assert machine.said(open_files.format(pid)) == machine.said(open_files.format(service.main_pid()))
    assert machine.said(f"stat -c %U /proc/{pid}") == "agent"
    assert machine.said(f"grep ^Groups /proc/{pid}/status").split()[1:] == [machine.said("id -g agent")]
    assert machine.said("systemctl show --value --property=OOMPolicy 'agentd-tmux-*'") == "continue"


def test_agents_are_told_nothing_of_the_service_manager(service: Installation) -> None:
    service.running_pids()
    text = service.machine.said("cat ~agent/environment")
    names = {line.partition("=")[0] for line in text.splitlines()}
    assert names == {
        "PATH", "LANG", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "AGENTD_AGENT", "AGENTD_HOOK",
        "AGENTD_RUN_ID", "PWD",
    }  # fmt: skip


def test_members_of_the_admin_group_may_poll_and_attach_and_others_neither(service: Installation) -> None:
    machine = service.machine
    service.running_pids()
    poll = f"curl --silent --show-error --unix-socket {service.api_socket} http://localhost/v1/health"
    # Attaches on a terminal, types the keys that detach, and shows what the terminal showed.
    attach = "(sleep 1; printf '\\002d') | script -qec 'tmux -S /run/agentd/tmux.sock attach -t watcher' /dev/null"
    assert '"state":"running"' in machine.said(poll, user="admin")
    assert "[detached (from session watcher)]" in machine.said(attach, user="admin")
    refused = machine.run(poll, user="other", check=False)
    assert refused.returncode == 7, refused
    assert "ermission denied" in machine.run(attach, user="other", check=False).stdout


def test_an_agent_with_limits_is_in_a_scope_of_its_own(service: Installation) -> None:
    check_scope(service, "/etc/stereos")
    service.running_pids()


def test_stopping_the_slice_too_ends_the_agents(service: Installation) -> None:
    before = service.running_pids()
    service.unit("stop agentd agentd.slice")
    alive = [pid for pid in before.values() if service.machine.run(f"test -d /proc/{pid}", check=False).returncode == 0]
    assert alive == []
    service.unit("start agentd")
    assert not set(service.running_pids().values()) & set(before.values())


def test_without_systemd_run_agents_stay_in_the_unit_and_still_survive_its_restart(service: Installation) -> None:
    service.unit("stop agentd agentd.slice")
    broken = "printf '#!/bin/sh\\necho no units today >&2\\nexit 1\\n'"
    service.machine.run(f"mkdir /tmp/broken; {broken} > /tmp/broken/systemd-run; chmod +x /tmp/broken/systemd-run")
    drop_in(service, "Environment=PATH=/tmp/broken:/usr/sbin:/usr/bin:/sbin:/bin")
    service.unit("start agentd")
    before = service.running_pids()
    log = service.log()
    assert "tmux_service_not_started" in log
    assert "no units today" in log
    assert "agentd.service" in service.machine.said(f"cat /proc/{before['watcher']}/cgroup")
    service.unit("restart agentd")
    assert service.running_pids() == before
    # From inside the unit they do not move; the next server is in a unit of its own again.
    # The signal to the whole unit may have ended tmux already.
    service.machine.run(f"rm {DROP_IN} && systemctl daemon-reload")
    service.machine.run("systemctl kill agentd; systemctl stop agentd; pkill tmux", check=False)
    service.unit("start agentd")
    assert "agentd.slice" in service.machine.said(f"cat /proc/{service.running_pids()['watcher']}/cgroup")


def test_a_shutdown_of_the_machine_stops_the_agents_gracefully_and_starts_no_others(service: Installation) -> None:
    # Last of all: there is no machine afterwards.
    service.running_pids()
    life = service.machine.ours("/mnt/kept/life")
    life.unlink()
    assert service.machine.power_off() < 20
    assert life.read_text().split() == ["interrupted"]
