"""What systemd makes of an agent's limits.

A container has no controllers that would enforce them: what is seen is what systemd was asked for, the group, and that
agentd says what is not enforced.
"""

from __future__ import annotations

import shlex

from tests.support.agents import jcard
from tests.support.daemon import AgentJson
from tests.support.waiting import wait_for
from tests.systemd.machine import Installation

NAME = "limited"
_HIDE = "env -i setsid sh -c 'sleep 4321 & echo $! > /tmp/hidden' & sleep infinity"
"""Starts a process that only its group shows to be the agent's."""
_SHOWN = ("MemoryMax", "MemoryHigh", "MemorySwapMax", "TasksMax", "CPUQuotaPerSecUSec", "CollectMode", "Slice")


def check_scope(service: Installation, config: str) -> None:
    """Run an agent with limits in a scope, change them, kill agentd, and remove the agent."""
    drop_in = f"{config}/jcard.d/{NAME}.toml"
    _declare(service, drop_in, 'memory = "64MiB"\nmemory_high = "48MiB"\npid_limit = 200\ncpu = 1.5\n')
    agent = _running(service)
    scope = _scope(service, agent)
    limited = [str(64 << 20), str(48 << 20), "0", "200", "1.500000s", "inactive-or-failed", "agentd.slice"]
    assert (found := _properties(service, scope)) == limited, found
    before = service.machine.said(f"{service.systemctl} show --value --property=Before {scope}", user=service.user)
    assert "agentd.service" in before
    limits = agent["limits"]
    assert limits is not None
    for limit in limits.values():
        assert limit is not None
        assert limit["enforced_by"] == "systemd" or limit["reason"], limit
    hidden = service.machine.said("cat /tmp/hidden")
    assert scope in service.machine.said(f"cat /proc/{hidden}/cgroup")

    _declare(service, drop_in, 'memory = "32MiB"\npid_limit = 100\n')
    wait_for(
        lambda: _properties(service, scope)[:5] == [str(32 << 20), "infinity", "0", "100", "infinity"],
        30,
        what="systemd holds it to other limits",
        explain=lambda: f"{_properties(service, scope)}\n{service.log()}",
    )
    daemon = service.main_pid()
    service.unit("kill --signal=KILL agentd")
    wait_for(lambda: service.main_pid() not in (0, daemon) and service.agents(), 60, explain=service.log)
    assert _running(service)["pid"] == agent["pid"]

    service.machine.run(f"rm {drop_in}", user=service.user)
    wait_for(lambda: NAME not in {each["name"] for each in service.agents()}, 60, explain=service.log)
    assert service.machine.run(f"grep -a sleep /proc/{hidden}/cmdline", check=False).stdout == ""
    wait_for(
        lambda: (
            service.machine.said(f"{service.systemctl} show --value --property=LoadState {scope}", user=service.user)
            == "not-found"
        ),
        30,
        what="the scope is gone",
    )


def _declare(service: Installation, drop_in: str, limits: str) -> None:
    text = jcard({"name": NAME, "command": ["sh", "-c", _HIDE], "workdir": "~", "grace_period": "2s"})
    folder = drop_in.rpartition("/")[0]
    service.machine.run(
        f"mkdir -p {folder}; printf %s {shlex.quote(text + limits)} > {drop_in}.part; mv {drop_in}.part {drop_in}",
        user=service.user,
    )


def _running(service: Installation) -> AgentJson:
    def found() -> AgentJson | None:
        return next((each for each in service.agents() if each["name"] == NAME and each["state"] == "running"), None)

    return wait_for(found, 30, what=f"{NAME} runs", explain=lambda: f"{service.agents()}\n{service.log()}")


def _scope(service: Installation, agent: AgentJson) -> str:
    groups = service.machine.said(f"cat /proc/{agent['pid']}/cgroup")
    found = {part for part in groups.replace("\n", "/").split("/") if part.endswith(".scope")}
    assert len(found) == 1, f"{groups}\n{agent}\n{service.log()}"
    return found.pop()


def _properties(service: Installation, scope: str) -> list[str]:
    wanted = " ".join(f"--property={name}" for name in _SHOWN)
    said = service.machine.said(f"{service.systemctl} show {wanted} {scope}", user=service.user)
    values = dict(line.split("=", 1) for line in said.splitlines())
    return [values[name] for name in _SHOWN]
