"""Turn a checked table of a jcard into definitions of agents. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from agentd.jcard.budget_table import budget_of
from agentd.jcard.checkouts import branch_name, workdir_in
from agentd.jcard.checks import reap_after
from agentd.jcard.declarations import Declaration, Identity
from agentd.jcard.order import parse_after
from agentd.jcard.paths import resolve
from agentd.jcard.place_table import place_of
from agentd.jcard.schedules import schedule_of
from agentd.jcard.stall_table import stall_of
from agentd.jcard.table import AgentTable
from agentd.jcard.usage_limit_table import usage_limit_policy
from agentd.model.destinations import HTTPS, parse_destination
from agentd.model.limits import SANDBOX_LIMITS, Limits
from agentd.model.spec import (
    WORKTREES,
    AgentSpec,
    AgentType,
    Checkout,
    EgressSecret,
    ForkPoint,
    Isolation,
    LoadContext,
    Policy,
    SandboxSpec,
)


def specs_of(declaration: Declaration, context: LoadContext, source: Path) -> Iterator[AgentSpec]:
    """Give the agents that a table declares, one a replica; none if it has an error.

    Parameters
    ----------
    context
        What relative and default values are resolved against.
    source
        The file of the table.
    """
    table = declaration.table
    if table is None:
        return
    prompt_file = None if table.prompt_file is None else resolve(table.prompt_file, context)
    repo = None if table.repo is None else resolve(table.repo, context)
    policy, sandbox = _policy(table), _sandbox(table, context)
    for identity in declaration.identities():
        checkout = _checkout(table, identity, repo, context)
        root = repo if checkout is None else checkout.path
        if root is not None:
            workdir = workdir_in(root, table.workdir)
        else:
            workdir = context.default_workdir if table.workdir is None else resolve(table.workdir, context)
        yield AgentSpec(
            name=identity.name,
            harness=table.harness,
            session=identity.session,
            workdir=workdir,
            type=table.type,
            mode=table.mode,
            prompt=table.prompt,
            prompt_file=prompt_file,
            env=table.env,
            ports=tuple(dict.fromkeys(table.ports)),
            secrets=_names(table),
            enabled=table.enabled,
            command=tuple(table.command),
            args=tuple(table.args),
            model=table.model,
            restarted_at=table.restarted_at,
            role=table.role,
            checkout=checkout,
            sandbox=sandbox,
            turns=table.turns,
            resume=table.resume,
            fork_from=None if table.fork_from is None else ForkPoint.parse(table.fork_from),
            after=parse_after(table.after),
            schedule=schedule_of(table),
            policy=policy,
            place=place_of(table.place),
            source=source,
            owner=context.owner,
        )


def _policy(table: AgentTable) -> Policy:
    return Policy(
        restart=table.restart,
        max_restarts=table.max_restarts,
        restart_delay=table.restart_delay,
        restart_delay_max=table.restart_delay_max,
        restart_reset=table.restart_reset,
        success_exit_codes=tuple(table.success_exit_codes),
        timeout=table.timeout or None,
        grace_period=table.grace_period,
        **asdict(limits_of(table)),
        on_oom=table.on_oom,
        on_usage_limit=usage_limit_policy(table.on_usage_limit),
        budget=budget_of(table.budget),
        apply=table.apply,
        apply_deadline=table.apply_deadline or None,
        applied_at=table.applied_at,
        priority=table.priority,
        reap=None if table.reap is None else reap_after(table.reap),
        growth_notice=table.growth_notice or None,
        stall=stall_of(table.stall),
    )


def _sandbox(table: AgentTable, context: LoadContext) -> SandboxSpec:
    return SandboxSpec(
        extra_packages=tuple(table.extra_packages),
        kind=table.sandbox,
        network=table.network,
        network_allow=tuple(map(parse_destination, table.network_allow)),
        egress_secrets=_egress_secrets(table),
        read_only_paths=tuple(str(resolve(path, context)) for path in table.read_only_paths),
        writable_paths=tuple(str(resolve(path, context)) for path in table.writable_paths),
    )


def limits_of(table: AgentTable) -> Limits:
    """Give what an agent may use up, its sandbox's defaults included."""
    default = SANDBOX_LIMITS if table.type is AgentType.SANDBOXED else Limits()
    return Limits(
        memory=table.memory or default.memory,
        memory_high=table.memory_high,
        pid_limit=table.pid_limit or default.pid_limit,
        cpu=table.cpu,
    )


def _names(table: AgentTable) -> tuple[str, ...] | None:
    if table.secrets is None:
        return None
    return tuple(dict.fromkeys(secret for secret in table.secrets if isinstance(secret, str)))


def _egress_secrets(table: AgentTable) -> tuple[EgressSecret, ...]:
    return tuple(
        EgressSecret(secret.name, tuple(parse_destination(host, HTTPS) for host in secret.to))
        for secret in table.secrets or ()
        if not isinstance(secret, str)
    )


def _checkout(table: AgentTable, identity: Identity, repo: Path | None, context: LoadContext) -> Checkout | None:
    if repo is None or table.isolation is Isolation.NONE:
        return None
    branch = None if table.isolation is Isolation.READ_ONLY else branch_name(table.branch, identity)
    return Checkout(repo, context.data_dir / WORKTREES / identity.name, branch, table.base)
