"""Check the table of one agent, beside its single values: what contradicts, and what has no effect. Pure."""

from __future__ import annotations

from typing import Final

from agentd.jcard.agent_specs import limits_of
from agentd.jcard.budget_check import check_budget
from agentd.jcard.checkouts import check_checkout
from agentd.jcard.declarations import Declaration
from agentd.jcard.explain import expected_choice, one_of
from agentd.jcard.findings import Findings
from agentd.jcard.near import did_you_mean, near_field
from agentd.jcard.schedules import check_schedule
from agentd.jcard.stall_check import check_stall
from agentd.jcard.table import AgentTable
from agentd.jcard.unexpanded import check_unexpanded
from agentd.jcard.usage_limit_table import usage_limit_policy, without_effect
from agentd.model.spec import AgentType, ApplyWhen, LoadContext, SandboxKind
from agentd.model.usage_limits import LimitAction
from agentd.text.durations import format_duration
from agentd.text.quoting import quote
from agentd.text.sizes import format_size

_FIELDS: Final = tuple(AgentTable.model_fields)


def check_agent(declaration: Declaration, context: LoadContext, findings: Findings) -> None:
    """Check one table."""
    _check_fields(declaration, findings)
    _check_harness(declaration, context, findings)
    check_checkout(declaration, findings)
    check_unexpanded(declaration, context.home, findings)
    _check_delays(declaration, findings)
    _check_memory(declaration, findings)
    _check_usage_limit(declaration, findings)
    check_budget(declaration, findings)
    _check_apply(declaration, findings)
    _check_reap(declaration, findings)
    check_stall(declaration, findings)
    _check_ports(declaration, findings)
    check_schedule(declaration, findings)


def _check_fields(declaration: Declaration, findings: Findings) -> None:
    for fault in declaration.faults:
        declaration.error(findings, fault.message, *fault.path)
    for key in declaration.raw:
        if key not in _FIELDS:
            declaration.warning(findings, f"unknown key, ignored{did_you_mean(near_field(key))}", key)


def _check_harness(declaration: Declaration, context: LoadContext, findings: Findings) -> None:
    registered = sorted(context.harnesses)
    harness = declaration.written("harness")
    message = None
    if not registered:
        message = "no harness is registered; reinstall agentd, whose entry points are missing"
    elif "harness" not in declaration.raw:
        message = f"missing, {one_of(registered)}"
    elif isinstance(harness, str) and harness not in context.harnesses:
        message = expected_choice(harness, registered)
    if message is not None:
        declaration.error(findings, message, "harness")
    elif isinstance(harness, str):
        _check_harness_takes(declaration, harness, context, findings)


def _check_harness_takes(declaration: Declaration, harness: str, context: LoadContext, findings: Findings) -> None:
    traits = context.harnesses[harness]
    if declaration.written("model") is not None and not traits.takes_model:
        message = f"the harness {quote(harness)} has no flag for a model; pass it in args or env"
        declaration.error(findings, message, "model")
    if declaration.written("command") and not traits.takes_command:
        able = ", ".join(quote(name) for name in sorted(context.harnesses) if context.harnesses[name].takes_command)
        message = f"the harness {quote(harness)} has its own command line; use args to add to it"
        declaration.error(
            findings, message + (f", or a harness that takes a command: {able}" if able else ""), "command"
        )


def _check_delays(declaration: Declaration, findings: Findings) -> None:
    table = declaration.table
    if table is None or table.restart_delay_max >= table.restart_delay:
        return
    field = "restart_delay_max" if "restart_delay_max" in declaration.raw else "restart_delay"
    first, cap = format_duration(table.restart_delay), format_duration(table.restart_delay_max)
    message = f'restart_delay "{first}" is over restart_delay_max "{cap}": every back-off is "{cap}"'
    declaration.warning(findings, message, field)


def _check_memory(declaration: Declaration, findings: Findings) -> None:
    table = declaration.table
    if table is None or table.memory_high is None:
        return
    memory = limits_of(table).memory
    if memory is not None and table.memory_high >= memory:
        high, most = format_size(table.memory_high), format_size(memory)
        message = f'has no effect: "{high}" is not below memory, "{most}", beyond which processes are killed'
        declaration.warning(findings, message, "memory_high")


def _check_usage_limit(declaration: Declaration, findings: Findings) -> None:
    table = declaration.table
    if table is None:
        return
    for key in without_effect(table.on_usage_limit):
        message = f"has no effect with this action, only with {quote(LimitAction.WAIT)}"
        declaration.warning(findings, message, "on_usage_limit", key)
    limit = usage_limit_policy(table.on_usage_limit)
    boxed = table.type is AgentType.SANDBOXED and declaration.written("sandbox") == SandboxKind.GVISOR
    unwatched = not table.turns or boxed
    if unwatched and limit is not None and limit.action is LimitAction.WAIT:
        why = "it is in gVisor's sandbox" if table.turns else "turns = false"
        declaration.warning(
            findings, f"it cannot be told to go on: {why}, so its turns are not watched", "on_usage_limit"
        )


def _check_apply(declaration: Declaration, findings: Findings) -> None:
    table = declaration.table
    if table is None:
        return
    if table.apply_deadline and table.apply is ApplyWhen.NOW:
        declaration.warning(findings, f"has no effect with apply = {quote(ApplyWhen.NOW)}", "apply_deadline")
    if table.apply is ApplyWhen.IDLE and not table.turns and not table.apply_deadline:
        message = "turns = false: it is never known to be idle, so a change waits until agentctl apply"
        declaration.warning(findings, f"{message}; set apply_deadline, too", "apply")


def _check_reap(declaration: Declaration, findings: Findings) -> None:
    table = declaration.table
    if table is None or table.reap is None:
        return
    if not table.turns:
        declaration.warning(findings, "has no effect with turns = false: it is never known to be idle", "reap")
    elif table.type is AgentType.SANDBOXED:
        declaration.warning(findings, "has no effect in a sandbox, which keeps what loses its parents", "reap")


def _check_ports(declaration: Declaration, findings: Findings) -> None:
    table = declaration.table
    for at, name in enumerate(() if table is None else table.ports):
        if table is not None and name in table.env:
            declaration.error(findings, f"found {quote(name)}, which env sets; take it out of one", "ports", at)
