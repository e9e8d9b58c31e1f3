"""The table of an agent that holds a session: as that of the agent by whose definition it works. Pure."""

from __future__ import annotations

import os.path
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentd.harness.acp import NAME as ACP_NAME
from agentd.harness.acp import acp_command
from agentd.harness.base import Request
from agentd.harness.builtin import BUILT_IN
from agentd.jcard.edit.writing import TomlValue
from agentd.model.limits import Limits
from agentd.model.spec import (
    AgentSpec,
    AgentType,
    ApplyWhen,
    Checkout,
    Isolation,
    Mode,
    Policy,
    RestartPolicy,
    SandboxSpec,
    SecretMode,
)
from agentd.text.durations import format_duration

_DEFAULT_POLICY: Final = Policy()

_DURATIONS: Final = ("restart_delay", "restart_delay_max", "restart_reset", "grace_period")


@dataclass(frozen=True, slots=True)
class SessionAgent:
    """What is a session's own."""

    name: str
    session: str
    """Of tmux."""
    workdir: Path | None = None
    """``None`` is that of the definition."""
    fork_from: str | None = None
    """What its conversation begins with."""


def by_definition(spec: AgentSpec, own: SessionAgent) -> dict[str, TomlValue]:
    """Give the table of an agent that works as another one does, in a conversation of its own.

    It stays, has no prompt, and goes on with its conversation in every run; it has a branch of its own where the other
    one has. How long the other one may live is not taken over.
    """
    table: dict[str, TomlValue] = {
        **_own(own),
        **_program(spec),
        "type": spec.type.value,
        "env": dict(spec.env),
        **_place(spec, own),
        **_policy(spec.policy),
    }
    if spec.ports:
        table["ports"] = [*spec.ports]
    if (secrets := _secrets(spec)) is not None:
        table["secrets"] = secrets
    if spec.type is AgentType.SANDBOXED:
        table |= _sandbox(spec.sandbox)
    return table


def by_harness(harness: str, own: SessionAgent) -> dict[str, TomlValue]:
    """Give the table of an agent that has no other definition than its harness."""
    command = _command(harness, Request())
    program: dict[str, TomlValue] = {"harness": harness} if command is None else _by_protocol(command)
    place: dict[str, TomlValue] = {} if own.workdir is None else {"workdir": str(own.workdir)}
    return {**_own(own), **program, **place}


def _own(own: SessionAgent) -> dict[str, TomlValue]:
    table: dict[str, TomlValue] = {
        "name": own.name,
        "session": own.session,
        "mode": Mode.INTERACTIVE.value,
        "restart": RestartPolicy.ALWAYS.value,
        "resume": True,
        "apply": ApplyWhen.IDLE.value,
    }
    return table if own.fork_from is None else {**table, "fork_from": own.fork_from}


def _program(spec: AgentSpec) -> dict[str, TomlValue]:
    read_only = spec.checkout is not None and spec.checkout.read_only
    request = Request(model=spec.model, args=spec.args, read_only=read_only)
    # The protocol's renderer is in no sandbox.
    command = None if spec.type is AgentType.SANDBOXED else _command(spec.harness, request)
    if command is not None:
        return _by_protocol(command)
    program: dict[str, TomlValue] = {"harness": spec.harness, "command": [*spec.command], "args": [*spec.args]}
    return program if spec.model is None else {**program, "model": spec.model}


def _command(harness: str, request: Request) -> tuple[str, ...] | None:
    known = BUILT_IN.get(harness)
    return None if known is None else acp_command(known, request)


def _by_protocol(command: Sequence[str]) -> dict[str, TomlValue]:
    """Hold the conversation by the Agent Client Protocol."""
    return {"harness": ACP_NAME, "command": [*command]}


def inside_checkout(spec: AgentSpec, checkout: Checkout) -> str:
    """Where in its git worktree an agent works."""
    return os.path.relpath(spec.workdir, checkout.path)


def _place(spec: AgentSpec, own: SessionAgent) -> Mapping[str, TomlValue]:
    if own.workdir is not None:
        return {}
    role: dict[str, TomlValue] = {} if spec.role is None else {"role": spec.role}
    checkout = spec.checkout
    if checkout is None:
        return {"workdir": str(spec.workdir), **role}
    isolation = Isolation.READ_ONLY if checkout.read_only else Isolation.WORKTREE
    inside = inside_checkout(spec, checkout)
    base: dict[str, TomlValue] = {} if checkout.base is None else {"base": checkout.base}
    return {"repo": str(checkout.repo), "isolation": isolation.value, "workdir": inside, **base, **role}


def _policy(policy: Policy) -> Mapping[str, TomlValue]:
    """Write what is not the default."""
    written: dict[str, TomlValue] = {}
    for field in _DURATIONS:
        value = getattr(policy, field)
        if value != getattr(_DEFAULT_POLICY, field):
            written[field] = format_duration(value)
    if policy.success_exit_codes != _DEFAULT_POLICY.success_exit_codes:
        written["success_exit_codes"] = [*policy.success_exit_codes]
    if policy.apply is not _DEFAULT_POLICY.apply:
        written["apply"] = policy.apply.value
    if policy.priority != _DEFAULT_POLICY.priority:
        written["priority"] = policy.priority
    if policy.apply_deadline is not None:
        written["apply_deadline"] = format_duration(policy.apply_deadline)
    return {**written, **_limits(policy.limits), **({} if policy.on_oom is None else {"on_oom": policy.on_oom.value})}


def _limits(limits: Limits) -> Mapping[str, TomlValue]:
    known = {
        "memory": limits.memory,
        "memory_high": limits.memory_high,
        "pid_limit": limits.pid_limit,
        "cpu": limits.cpu,
    }
    return {field: value for field, value in known.items() if value is not None}


def _secrets(spec: AgentSpec) -> Sequence[TomlValue] | None:
    if spec.secrets is None:
        return None
    egress: list[TomlValue] = [
        {"name": each.name, "to": [str(host) for host in each.to], "mode": SecretMode.EGRESS.value}
        for each in spec.sandbox.egress_secrets
    ]
    return [*spec.secrets, *egress]


def _sandbox(sandbox: SandboxSpec) -> Mapping[str, TomlValue]:
    kind: dict[str, TomlValue] = {} if sandbox.kind is None else {"sandbox": sandbox.kind.value}
    return {
        **kind,
        "extra_packages": [*sandbox.extra_packages],
        "network": sandbox.network.value,
        "network_allow": [str(each) for each in sandbox.network_allow],
        "read_only_paths": [*sandbox.read_only_paths],
        "writable_paths": [*sandbox.writable_paths],
    }
