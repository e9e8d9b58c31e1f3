"""Turn the bytes of a jcard into agent definitions, or a list of all its problems. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path as FilePath

from agentd.jcard.agent_checks import check_agent
from agentd.jcard.agent_specs import specs_of
from agentd.jcard.approve_tables import read_approvals
from agentd.jcard.budget_check import read_budget
from agentd.jcard.capacity_tables import read_capacity
from agentd.jcard.checkouts import check_branches
from agentd.jcard.declarations import Declaration, read_declarations
from agentd.jcard.document import parse_document
from agentd.jcard.drop_in_table import read_drop_in
from agentd.jcard.findings import Findings
from agentd.jcard.gateway_table import OF_GATEWAY, gateway_secrets, read_gateway
from agentd.jcard.identities import check_identities
from agentd.jcard.notify_tables import read_rules
from agentd.jcard.order import check_circles
from agentd.jcard.otel_table import read_otel
from agentd.jcard.pool_table import read_pool
from agentd.jcard.positions import Path
from agentd.jcard.problems import LoadResult, Problem, Severity
from agentd.jcard.sandbox import check_sandbox
from agentd.jcard.trigger_tables import read_triggers
from agentd.jcard.worker_table import read_worker
from agentd.model.spec import AgentSpec, LoadContext


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
    _check_agents(declarations, context, findings)
    triggers = read_triggers(document.values, declarations, context, findings)
    worker = read_worker(document.values, context, findings)
    beside = _read_beside(document.values, path, context, findings)
    if findings.has_errors:
        return LoadResult((), findings.in_order())
    agents: list[AgentSpec] = []
    tables: dict[str, Path] = {}
    for declaration in declarations:
        for spec in specs_of(declaration, context, FilePath(path)):
            started_by = triggers.get(spec.name, ())
            agents.append(replace(spec, worker=worker, triggers=started_by) if worker or started_by else spec)
            tables[spec.name] = declaration.path
    return replace(beside, agents=tuple(agents), problems=findings.in_order(), tables=tables, text=document.text)


def _check_agents(declarations: Sequence[Declaration], context: LoadContext, findings: Findings) -> None:
    """Check each agent's table, and then what they are to each other."""
    for declaration in declarations:
        check_agent(declaration, context, findings)
    check_sandbox(declarations, findings)
    check_identities(declarations, findings)
    check_branches(declarations, findings)
    check_circles(declarations, findings)


def _read_beside(document: Mapping[str, object], path: str, context: LoadContext, findings: Findings) -> LoadResult:
    """Read the tables beside those of agents. What is wrong with the gateway's stops nobody but the gateway."""
    drop_in = read_drop_in(document, findings)
    apart = findings.apart()
    gateway = read_gateway(document, context, apart)
    findings.tell(apart.in_order(), OF_GATEWAY)
    return LoadResult(
        agents=(),
        problems=(),
        lease=drop_in.lease,
        boot=drop_in.boot,
        notify=read_rules(document, findings),
        approvals=read_approvals(document, findings, path),
        gateway=gateway,
        gateway_errors=tuple(problem for problem in apart.in_order() if problem.severity is Severity.ERROR),
        gateway_secrets=gateway_secrets(gateway, document, context),
        pool=read_pool(document, context, findings),
        capacity=read_capacity(document, context, findings),
        budget=read_budget(document, context, findings),
        telemetry=read_otel(document, context, findings),
    )
