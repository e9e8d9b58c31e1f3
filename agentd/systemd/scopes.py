"""Transient scopes: control groups that systemd makes for processes which it did not start.

They are asked for by ``busctl``, which sends what it is given to the manager; ``systemd-run --scope`` can only make a
scope of itself. Source: org.freedesktop.systemd1(5), systemd.resource-control(5), systemd.scope(5).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agentd.model.limits import Limits
from agentd.systemd.run import SLICE, STOP_SECONDS, ServiceManager, ServiceManagerError, run_program

SUFFIX: Final = ".scope"

_MANAGER: Final = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
_LIMIT = 10.0
"""Seconds for systemd to answer; it needs 0.02."""
_NONE: Final = 2**64 - 1
"""How systemd writes that there is no limit."""
_SECOND: Final = 1_000_000
_OOM_POLICY_SINCE: Final = 253
"""Version of systemd that would end a whole scope for one process that ran out of memory."""


@dataclass(slots=True)
class Scopes:
    """Asks a systemd for scopes."""

    manager: ServiceManager
    _version: int | None = None

    async def start(self, run_id: str, pid: int, limits: Limits, description: str) -> None:
        """Make a scope of one process.

        Raises
        ------
        ServiceManagerError
            If systemd refuses, or does not answer.
        """
        properties: dict[str, Sequence[str]] = {
            "PIDs": ("au", "1", str(pid)),
            "Description": ("s", description),
            "Slice": ("s", SLICE),
            "CollectMode": ("s", "inactive-or-failed"),
            "SendSIGHUP": ("b", "true"),
            "TimeoutStopUSec": ("t", str(STOP_SECONDS * _SECOND)),
            **_properties(limits),
        }
        if await self._knows_oom_policy():
            properties["OOMPolicy"] = ("s", "continue")
        if self.manager.unit is not None:
            # agentd stops its agents itself when the machine shuts down.
            properties["Before"] = ("as", "1", self.manager.unit)
        await self._call("StartTransientUnit", "ssa(sv)a(sa(sv))", (scope_name(run_id), "fail"), properties, ("0",))

    async def limit(self, run_id: str, limits: Limits) -> None:
        """Set the limits of a scope, until it ends.

        Raises
        ------
        ServiceManagerError
            If systemd refuses, or does not answer.
        """
        await self._call("SetUnitProperties", "sba(sv)", (scope_name(run_id), "true"), _properties(limits))

    async def _call(
        self,
        method: str,
        signature: str,
        arguments: Sequence[str],
        properties: Mapping[str, Sequence[str]],
        rest: Sequence[str] = (),
    ) -> None:
        words = [word for name, value in properties.items() for word in (name, *value)]
        program = shutil.which("busctl") or "busctl"
        whose = "--user" if self.manager.of_user else "--system"
        options = (whose, "--quiet", "--allow-interactive-authorization=no", f"--timeout={_LIMIT:.0f}")
        called = (*_MANAGER, method, signature, *arguments, str(len(properties)), *words, *rest)
        status, _, complaint = await run_program((program, *options, "call", *called), 2 * _LIMIT)
        if status != 0:
            raise ServiceManagerError(" ".join(complaint.split()) or f"{program} ended with status {status}")

    async def _knows_oom_policy(self) -> bool:
        if self._version is None:
            _, answer, _ = await run_program(("systemctl", "--version"), _LIMIT)
            words = answer.split()
            self._version = int(words[1]) if len(words) > 1 and words[1].isdecimal() else 0
        return self._version >= _OOM_POLICY_SINCE


def scope_name(run_id: str) -> str:
    """Name of a run's scope."""
    return f"agentd-{run_id}{SUFFIX}"


def run_of(scope: str) -> str | None:
    """Which run a scope is of, by its name."""
    name = scope.removesuffix(SUFFIX)
    return name.removeprefix("agentd-") if name != scope and name.startswith("agentd-") else None


def _properties(limits: Limits) -> dict[str, Sequence[str]]:
    cpu = None if limits.cpu is None else round(limits.cpu * _SECOND)
    values = {
        "MemoryMax": limits.memory,
        "MemorySwapMax": None if limits.memory is None else 0,
        "MemoryHigh": limits.memory_high,
        "TasksMax": limits.pid_limit,
        "CPUQuotaPerSecUSec": cpu,
    }
    return {name: ("t", str(_NONE if value is None else value)) for name, value in values.items()}
