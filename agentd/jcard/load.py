"""Turn the bytes of a jcard into agent definitions, or a list of all its problems. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path as FilePath
from typing import Final

from agentd.jcard.approve_tables import read_approvals
from agentd.jcard.budget_check import check_budget, read_budget
from agentd.jcard.budget_table import budget_of
from agentd.jcard.capacity_tables import read_capacity
from agentd.jcard.checkouts import branch_name, check_branches, check_checkout, workdir_in
from agentd.jcard.checks import check_name, reap_after
from agentd.jcard.declarations import Declaration, Identity, read_declarations
from agentd.jcard.document import parse_document
from agentd.jcard.drop_in_table import read_drop_in
from agentd.jcard.explain import expected_choice, one_of
from agentd.jcard.findings import Findings
from agentd.jcard.gateway_table import OF_GATEWAY, gateway_secrets, read_gateway
from agentd.jcard.near import did_you_mean, near_field
from agentd.jcard.notify_tables import read_rules
from agentd.jcard.order import check_circles, parse_after
from agentd.jcard.otel_table import read_otel
from agentd.jcard.paths import resolve
from agentd.jcard.place_table import place_of
from agentd.jcard.pool_table import read_pool
from agentd.jcard.positions import Path
from agentd.jcard.problems import LoadResult, Problem, Severity
from agentd.jcard.sandbox import check_sandbox
from agentd.jcard.schedules import check_schedule, schedule_of
from agentd.jcard.stall_check import check_stall
from agentd.jcard.stall_table import stall_of
from agentd.jcard.table import AgentTable
from agentd.jcard.trigger_tables import read_triggers
from agentd.jcard.unexpanded import check_unexpanded
from agentd.jcard.usage_limit_table import usage_limit_policy, without_effect
from agentd.jcard.worker_table import read_worker
from agentd.model.destinations import HTTPS, parse_destination
from agentd.model.limits import SANDBOX_LIMITS, Limits
from agentd.model.spec import (
    WORKTREES,
    AgentSpec,
    AgentType,
    ApplyWhen,
    Checkout,
    EgressSecret,
    ForkPoint,
    Isolation,
    LoadContext,
    Policy,
    SandboxKind,
    SandboxSpec,
)
from agentd.model.usage_limits import LimitAction
from agentd.text.durations import format_duration
from agentd.text.quoting import quote
from agentd.text.sizes import format_size

_FIELDS: Final = tuple(AgentTable.model_fields)


def load_jcard(data: bytes, path: str, context: LoadContext) -> LoadResult:
    """Load a jcard or drop-in as a whole.

    Never raises because of the content. A file without agents is valid; callers treat zero bytes as a missing file.

    Parameters
    ----------
    data
        The content of the file.
    path
        The file: what messages call it, and the source of its agents.
    context
        What relative and default values are resolved against.

    Returns
    -------
    LoadResult
        The agents in the order of declaration, ``[agent]`` first, with any warnings; or, with any error, no agents
        and all problems in the order of the file.
    """
    document = parse_document(data, path)
    if isinstance(document, Problem):
        return LoadResult((), (document,))
    findings = Findings(path, document.text)
    declarations = read_declarations(document.values, findings)
    for declaration in declarations:
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
    check_sandbox(declarations, findings)
    _check_identities(declarations, findings)
    check_branches(declarations, findings)
    check_circles(declarations, findings)
    drop_in = read_drop_in(document.values, findings)
    triggers = read_triggers(document.values, declarations, context, findings)
    notify = read_rules(document.values, findings)
    approvals = read_approvals(document.values, findings, path)
    apart = findings.apart()
    gateway = read_gateway(document.values, context, apart)
    findings.tell(apart.in_order(), OF_GATEWAY)
    pool = read_pool(document.values, context, findings)
    budget = read_budget(document.values, context, findings)
    capacity = read_capacity(document.values, context, findings)
    telemetry = read_otel(document.values, context, findings)
    worker = read_worker(document.values, context, findings)
    if findings.has_errors:
        return LoadResult((), findings.in_order())
    source = FilePath(path)
    agents: list[AgentSpec] = []
    tables: dict[str, Path] = {}
    for declaration in declarations:
        for spec in _specs(declaration, context, source):
            started_by = triggers.get(spec.name, ())
            agents.append(replace(spec, worker=worker, triggers=started_by) if worker or started_by else spec)
            tables[spec.name] = declaration.path
    return LoadResult(
        tuple(agents),
        findings.in_order(),
        drop_in.lease,
        notify,
        approvals,
        tables,
        document.text,
        gateway,
        tuple(problem for problem in apart.in_order() if problem.severity is Severity.ERROR),
        gateway_secrets(gateway, document.values, context),
        pool,
        capacity,
        budget,
        telemetry,
        drop_in.boot,
    )


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
    memory = _limits(table).memory
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


@dataclass(frozen=True, slots=True)
class _Claim:
    """The replica that a name or session belongs to."""

    declaration: Declaration
    identity: Identity


def _check_identities(declarations: list[Declaration], findings: Findings) -> None:
    """Check that names and sessions are unique over all replicas; one error a table."""
    names: dict[str, _Claim] = {}
    sessions: dict[str, _Claim] = {}
    for declaration in declarations:
        identities = list(declaration.identities())
        if identities and not _check_longest_name(declaration, identities, findings):
            continue
        name_clash = session_clash = False
        for identity in identities:
            claim = _Claim(declaration, identity)
            namesake = names.setdefault(identity.name.casefold(), claim)
            same_session = sessions.setdefault(identity.session, claim)
            if namesake is not claim:
                if not name_clash:
                    _report_name(claim, namesake, findings)
                name_clash = True
            elif same_session is not claim and not session_clash:
                _report_session(claim, same_session, findings)
                session_clash = True


def _check_longest_name(declaration: Declaration, identities: list[Identity], findings: Findings) -> bool:
    try:
        check_name(identities[-1].name)
    except ValueError as error:
        origin = "" if "name" in declaration.raw else "the name made from the harness; set name: "
        if len(identities) > 1:
            origin = f"the name of the last of {len(identities)} replicas: "
        declaration.error(findings, f"{origin}{error}", "name")
        return False
    return True


def _report_name(claim: _Claim, namesake: _Claim, findings: Findings) -> None:
    line, column = findings.position((*namesake.declaration.path, "name"))
    message = f"found {quote(claim.identity.name)}, which is already taken by the agent at line {line}, column {column}"
    if claim.identity.name != namesake.identity.name:
        message += f", {quote(namesake.identity.name)}: names must differ in more than case"
    if "name" not in claim.declaration.raw:
        message += "; set name to tell them apart"
    claim.declaration.error(findings, message, "name")


def _report_session(claim: _Claim, other: _Claim, findings: Findings) -> None:
    line, column = findings.position((*other.declaration.path, _session_source(other)))
    findings.error(
        (*claim.declaration.path, _session_source(claim)),
        f"found {quote(claim.identity.session)}, which is already the session of agent "
        f"{quote(other.identity.name)} at line {line}, column {column}; each agent needs its own",
        agent=claim.declaration.label,
        field="session",
    )


def _session_source(claim: _Claim) -> str:
    return "session" if "session" in claim.declaration.raw else "name"


def _specs(declaration: Declaration, context: LoadContext, source: FilePath) -> Iterator[AgentSpec]:
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
        **asdict(_limits(table)),
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


def _limits(table: AgentTable) -> Limits:
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


def _checkout(table: AgentTable, identity: Identity, repo: FilePath | None, context: LoadContext) -> Checkout | None:
    if repo is None or table.isolation is Isolation.NONE:
        return None
    branch = None if table.isolation is Isolation.READ_ONLY else branch_name(table.branch, identity)
    return Checkout(repo, context.data_dir / WORKTREES / identity.name, branch, table.base)
