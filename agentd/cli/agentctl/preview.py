"""Plan what the daemon would do with another jcard: its own pure plan, of that file and what it observes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from agentd.cli.agentctl.command import CommandError, Invocation
from agentd.cli.agentctl.worktrees_left import worktrees_left
from agentd.harness.base import Harness
from agentd.harness.registry import load_harnesses
from agentd.jcard.given_file import GivenFile
from agentd.jcard.load import load_jcard
from agentd.jcard.prompts import PromptError
from agentd.jcard.reading import config_bytes, prompt_text
from agentd.model.spec import AgentSpec, LoadContext, Policy, RestartPolicy
from agentd.model.states import AgentState
from agentd.model.status import ObservedAgentView, PlannedOperation, PlanReport
from agentd.settings.context import ConfigUnavailableError, load_context
from agentd.supervise.desired import SECRETS_PART, resolve_launch
from agentd.supervise.plan import DesiredView, Fingerprint, ObservedView, plan
from agentd.text.quoting import printable


def preview(invocation: Invocation, report: PlanReport, file: GivenFile) -> tuple[list[PlannedOperation], list[str]]:
    """Plan as if ``file`` replaced the daemon's jcard.

    Parameters
    ----------
    invocation
        The call.
    report
        The daemon's own plan, and what it observes.
    file
        The other jcard.

    Returns
    -------
    The operations, and remarks: the file's warnings, and what becomes of worktrees that no agent would have any more.

    Raises
    ------
    CommandError
        If the file cannot be read, or has errors.
    ApiError
        If the daemon is of another version.
    UnreachableError
        If it does not answer.
    """
    config = Path(invocation.api.health().config.path)
    registry = load_harnesses()
    try:
        data = file.read()
    except ConfigUnavailableError as error:
        raise CommandError(str(error)) from None
    context = load_context(config, report.agent_user, Path(report.home), registry.harnesses, Path(report.data_dir))
    result = load_jcard(data, str(file.path), context)
    if result.errors:
        raise CommandError("; ".join(map(str, result.errors)))
    observed = {view.name: _observed(view) for view in report.observed}
    desired = [_desired(agent, observed.get(agent.name), report, registry.harnesses) for agent in result.agents]
    sources = {view.name: view.source for view in report.observed}
    sources.update((agent.name, str(agent.source)) for agent in result.agents)
    operations = [
        PlannedOperation(
            str(operation.action), operation.agent, operation.reason, operation.fields, sources.get(operation.agent)
        )
        for operation in plan(desired, observed.values())
    ]
    warnings = [f"warning: {printable(str(warning))}" for warning in result.warnings]
    return operations, [*warnings, *worktrees_left(_in_force(config, context), result.agents)]


def _in_force(config: Path, context: LoadContext) -> Sequence[AgentSpec]:
    """Read the daemon's jcard; no agents if it cannot be read."""
    try:
        return load_jcard(config_bytes(config), str(config), context).agents
    except ConfigUnavailableError:
        return ()


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


def _with_secrets_of(observed: Fingerprint, desired: Fingerprint) -> Fingerprint:
    """Take the secrets as unchanged: only the daemon reads them."""
    if SECRETS_PART not in observed:
        return {part: digest for part, digest in desired.items() if part != SECRETS_PART}
    return {**desired, SECRETS_PART: observed[SECRETS_PART]}


def _observed(view: ObservedAgentView) -> ObservedView:
    return ObservedView(
        name=view.name,
        state=AgentState(view.state),
        policy=None if view.policy is None else _policy(view.policy),
        fingerprint=view.launch,
        session_open=True,
    )


def _policy(values: Mapping[str, object]) -> Policy:
    """Rebuild a policy from the API, which shows the fields of `Policy`."""
    rebuilt = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    rebuilt["restart"] = RestartPolicy(str(values["restart"]))
    return Policy(**rebuilt)  # type: ignore[arg-type]  # the API's own types, its schema is tested
