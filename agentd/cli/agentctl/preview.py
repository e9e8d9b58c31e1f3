"""Plan what the daemon would do with other files: its own pure plan, of those files and what it observes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from agentd.cli.agentctl.command import CommandError, Invocation
from agentd.cli.agentctl.declaring_files import DeclaringFiles
from agentd.cli.agentctl.preview_queue import preview_queue
from agentd.cli.agentctl.worktrees_left import worktrees_left
from agentd.harness.base import Harness
from agentd.harness.registry import load_harnesses
from agentd.jcard.drop_in_folder import DropIns, FoundFile
from agentd.jcard.drop_ins import SourceFile, drop_in_context, merge
from agentd.jcard.given_file import GivenFile
from agentd.jcard.load import load_jcard
from agentd.jcard.prompts import PromptError
from agentd.jcard.reading import drop_ins, jcard_file, jcard_source, prompt_text
from agentd.model.budgets import BreachAction, Budget
from agentd.model.capacity import Capacity
from agentd.model.plan_report import ObservedAgentView, PlannedOperation, PlanReport
from agentd.model.spec import AgentSpec, ApplyWhen, LoadContext, Policy, RestartPolicy
from agentd.model.stall import Stall, StallAction
from agentd.model.states import AgentState
from agentd.model.usage_limits import Hours, LimitAction, UsageLimitPolicy
from agentd.sandbox.granted import shown
from agentd.settings.context import ConfigUnavailableError, load_context
from agentd.settings.folders import drop_in_folder
from agentd.settings.settings import of_daemon
from agentd.supervise.desired import OF_SECRETS, resolve_launch
from agentd.supervise.plan import Action, DesiredView, Fingerprint, ObservedView, plan
from agentd.supervise.ports import with_ports
from agentd.text.quoting import printable


def preview(invocation: Invocation, report: PlanReport, file: GivenFile) -> tuple[list[PlannedOperation], list[str]]:
    """Plan as if a file replaced one that the daemon reads.

    Parameters
    ----------
    report
        The daemon's own plan, and what it observes.
    file
        One of the daemon's drop-ins; a folder in the place of all its drop-ins; else a file in the place of its jcard,
        and where there is a folder of drop-ins beside it, that too.

    Returns
    -------
    The operations, and remarks: warnings about the files, and what becomes of worktrees that no agent would have any
    more.

    Raises
    ------
    CommandError
        If a file cannot be read, or has errors.
    ApiError
        If the daemon is of another version.
    UnreachableError
        If it does not answer.
    """
    settings = of_daemon(invocation.settings, Path(invocation.api.health().config.path))
    config, folder = settings.config, settings.config_dir
    registry = load_harnesses()
    context = load_context(config, report.agent_user, Path(report.home), registry.harnesses, Path(report.data_dir))
    now = DeclaringFiles.read(config, folder, context).taken
    files = merge(_sources(file, config, folder, context))
    standing = {each.path: each.valid for each in now if each.path != file.path}
    errors = [str(error) for taken in files if standing.get(taken.path, True) for error in taken.errors]
    if errors:
        raise CommandError("; ".join(errors))
    ports = {view.name: view.ports for view in report.observed}
    agents = [with_ports(agent, ports.get(agent.name, {})) for taken in files for agent in taken.agents]
    warnings = [
        f"warning: {printable(str(warning))}"
        for taken in files
        if taken.path not in standing
        for warning in taken.warnings
    ]
    had = [agent for taken in now for agent in taken.agents]
    jcard = files[0].in_force
    capacity = None if jcard is None else jcard.capacity
    return _operations(agents, capacity, report, registry.harnesses), [*warnings, *worktrees_left(had, agents)]


def _operations(
    agents: Sequence[AgentSpec], capacity: Capacity | None, report: PlanReport, harnesses: Mapping[str, Harness]
) -> list[PlannedOperation]:
    observed = {view.name: _observed(view) for view in report.observed}
    queued = preview_queue(capacity, agents, observed)
    desired = [
        replace(_desired(agent, observed.get(agent.name), report, harnesses), queued=queued.get(agent.name))
        for agent in agents
    ]
    sources = {view.name: view.source for view in report.observed if view.source}
    sources |= {agent.name: str(agent.source) for agent in agents}
    data_dir = Path(report.data_dir)
    sandboxes = {agent.name: shown(agent, data_dir, _received(agent, report.secrets)) for agent in agents}
    before = {view.name: view.sandbox for view in report.observed}
    return [
        PlannedOperation(
            str(operation.action),
            operation.agent,
            operation.reason,
            operation.fields,
            sources.get(operation.agent),
            None if operation.action is Action.STOP else sandboxes.get(operation.agent),
            before.get(operation.agent),
            operation.waits,
        )
        for operation in plan(desired, observed.values())
    ]


def _sources(file: GivenFile, config: Path, folder: Path, context: LoadContext) -> Iterator[SourceFile]:
    """Load what the daemon would read; relative paths start where the daemon's own files are."""
    given_folder = None if file.stream else file.path if file.is_folder() else drop_in_folder(file.path)
    is_drop_in = not file.stream and file.path != config and file.path.is_relative_to(folder)
    if is_drop_in or given_folder == file.path:
        yield jcard_source(jcard_file(config), context)
    else:
        yield SourceFile(file.path, None, load_jcard(_read(file), str(file.path), context))
    given = DropIns() if is_drop_in or given_folder is None else drop_ins(given_folder)
    if given_folder is not None and (given.files or given_folder == file.path):
        for each in given.files.values():
            yield _load(each, folder / each.path.relative_to(given_folder), context)
        return
    standing = {path: each for path, each in drop_ins(folder).files.items() if path != file.path}
    if is_drop_in:
        owner = None if file.path.parent == folder else file.path.parent.name
        standing[file.path] = FoundFile(file.path, owner, _read(file), None)
    for path in sorted(standing, key=str):
        yield _load(standing[path], path, context)


def _load(file: FoundFile, place: Path, context: LoadContext) -> SourceFile:
    if file.data is None:
        return SourceFile(file.path, file.owner, None, unavailable=file.unavailable)
    loaded = load_jcard(file.data, str(file.path), drop_in_context(context, place, file.owner))
    return SourceFile(file.path, file.owner, loaded)


def _read(file: GivenFile) -> bytes:
    try:
        return file.read()
    except ConfigUnavailableError as error:
        raise CommandError(str(error)) from None


def _desired(
    agent: AgentSpec, observed: ObservedView | None, report: PlanReport, harnesses: Mapping[str, Harness]
) -> DesiredView:
    prompt = input_error = None
    if agent.prompt_file is not None:
        try:
            prompt = prompt_text(agent.prompt_file)
        except PromptError as error:
            input_error = str(error)
    view = resolve_launch(
        agent,
        prompt=prompt,
        input_error=input_error,
        secrets={},
        harness=harnesses[agent.harness],
        user=report.agent_user,
        key=bytes.fromhex(report.digest_key),
    ).view
    if view.fingerprint is None or observed is None or observed.fingerprint is None:
        return view
    return replace(view, fingerprint=_with_secrets_of(observed.fingerprint, view.fingerprint))


def _received(agent: AgentSpec, known: Sequence[str] | None) -> list[str] | None:
    """Name the secrets that an agent would be given; ``None`` if its definition alone is known."""
    if known is None:
        return None
    return [name for name in known if name not in agent.env and (agent.secrets is None or name in agent.secrets)]


def _with_secrets_of(observed: Fingerprint, desired: Fingerprint) -> Fingerprint:
    """Take the secrets as unchanged: only the daemon reads them."""
    kept = {part: digest for part, digest in desired.items() if part not in OF_SECRETS}
    return kept | {part: digest for part, digest in observed.items() if part in OF_SECRETS}


def _observed(view: ObservedAgentView) -> ObservedView:
    return ObservedView(
        name=view.name,
        state=AgentState(view.state),
        policy=None if view.policy is None else _policy(view.policy),
        fingerprint=view.launch,
        session_open=True,
        use=tuple(view.use),
    )


def _usage_limit(values: object) -> UsageLimitPolicy | None:
    if not isinstance(values, Mapping):
        return None
    hours = values["hours"]
    rebuilt = {**values, "action": LimitAction(values["action"]), "hours": None if hours is None else Hours(**hours)}
    return UsageLimitPolicy(**rebuilt)


def _budget(values: object) -> Budget | None:
    if not isinstance(values, Mapping):
        return None
    usd, day = (None if values[name] is None else Decimal(str(values[name])) for name in ("usd", "day"))
    action = None if values["on_breach"] is None else BreachAction(values["on_breach"])
    return Budget(usd, day, values["turns"], action)


def _stall(values: object) -> Stall | None:
    if not isinstance(values, Mapping):
        return None
    return Stall(values["model"], values["tool"], tuple(map(StallAction, values["action"])))


def _policy(values: Mapping[str, object]) -> Policy:
    """Rebuild a policy from the API, which shows the fields of `Policy`."""
    rebuilt = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    rebuilt["restart"] = RestartPolicy(str(values["restart"]))
    rebuilt["apply"] = ApplyWhen(str(values.get("apply", ApplyWhen.NOW)))
    rebuilt["on_usage_limit"] = _usage_limit(values.get("on_usage_limit"))
    rebuilt["budget"] = _budget(values.get("budget"))
    rebuilt["stall"] = _stall(values.get("stall"))
    return Policy(**rebuilt)  # type: ignore[arg-type]  # the API's own types, its schema is tested
