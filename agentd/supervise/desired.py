"""From a declared agent to what its launch would be: argv, environment, and a fingerprint to compare launches by."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from agentd.harness.base import Forks, Harness, HarnessError, Request, StopKey
from agentd.harness.trust import TrustFile
from agentd.jcard.trigger_tables import prompt_problem
from agentd.launch.launcher import oversized
from agentd.model.capacity import Claims, Queued
from agentd.model.packages import PACKAGE
from agentd.model.spec import AgentSpec, AgentType, ApplyWhen, RestartPolicy, SandboxSpec
from agentd.model.stall import StallAction
from agentd.supervise.plan import LIMITS_PART, DesiredView, Fingerprint
from agentd.text.prompt_variables import variables_in
from agentd.text.quoting import quote

DEFAULT_STOP_KEYS: tuple[StopKey, ...] = (StopKey("C-c"),)

_DIGEST_BYTES = 8

ENVIRONMENT_PART = "env"
EGRESS_PART = "egress"
SECRETS_PART = "secrets"
OF_SECRETS = frozenset({SECRETS_PART, EGRESS_PART})
"""The parts of a fingerprint that only the daemon can compute."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What one run of an agent executes."""

    argv: tuple[str, ...] = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    """What is declared for it: secrets, then ``env``. What is merely inherited is not part of a launch."""
    going_on: tuple[str, ...] = field(default=(), repr=False)
    """In place of ``argv`` where a run goes on with a conversation: its prompt stands there already. Empty if there is
    no difference."""


@dataclass(frozen=True, slots=True)
class Template:
    """What makes the command line of an agent whose prompt has variables."""

    harness: Harness
    request: Request = field(repr=False)
    """With the prompt as declared."""


@dataclass(frozen=True, slots=True)
class DesiredAgent:
    """A declared agent with everything needed to run it, or the reason why it cannot run."""

    spec: AgentSpec
    launch: Launch | None
    error: str | None
    fingerprint: Fingerprint | None
    stop_keys: tuple[StopKey, ...] = DEFAULT_STOP_KEYS
    trust: TrustFile | None = None
    """Where the harness keeps which folders it trusts."""
    secrets: tuple[str, ...] = ()
    """Names of the secrets that it receives."""
    egress: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Values of the secrets that it uses without reading them."""
    stays: bool = True
    """Whether its program is asked to stay and take messages."""
    renderer: str | None = None
    """As in the harness' facts."""
    claims: Claims | None = None
    """What it takes of the capacity; ``None`` where there is none to share."""
    queued: Queued | None = None
    """Its place in the queue, if it must not be launched yet."""
    template: Template | None = None
    """``None`` unless its prompt has variables, and something starts it that has values for them."""

    @property
    def resumes(self) -> bool:
        """Whether a run goes on with the conversation of the last one."""
        spec = self.spec
        if spec.resume is not None:
            return spec.resume
        asked = bool(spec.prompt) or spec.prompt_file is not None
        goes_on = spec.policy.restart is RestartPolicy.ALWAYS or spec.policy.apply is not ApplyWhen.NOW
        return self.stays and not asked and goes_on

    def launched_as(self, resume: bool | None) -> DesiredAgent:
        """The same, with a conversation that goes on or not; ``None`` is as declared."""
        return self if resume is None else replace(self, spec=replace(self.spec, resume=resume))

    @property
    def view(self) -> DesiredView:
        """What the plan needs to know."""
        return DesiredView(self.spec.name, self.spec.enabled, self.spec.policy, self.fingerprint, self.queued)


def digest(key: bytes, value: object) -> str:
    """Digest a JSON-like value with a key, without which short secrets could be guessed from it."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), key=key, digest_size=_DIGEST_BYTES).hexdigest()


def resolve_launch(
    spec: AgentSpec,
    *,
    prompt: str | None,
    input_error: str | None,
    secrets: Mapping[str, str],
    harness: Harness,
    user: str,
    key: bytes,
) -> DesiredAgent:
    """Work out the launch of one agent.

    Parameters
    ----------
    prompt
        Text of the prompt file, or ``None`` if the agent has none or it cannot be read.
    input_error
        Why the prompt file cannot be read, or a secret is not known.
    secrets
        Those that this agent receives.
    user
        Name of the user the agent runs as.
    key
        Key of the digests.
    """
    if input_error is not None:
        return DesiredAgent(spec, None, input_error, None)
    text = spec.prompt if prompt is None else prompt
    read_only = spec.checkout is not None and spec.checkout.read_only
    request = Request(
        prompt=text, mode=spec.mode, model=spec.model, args=spec.args, command=spec.command, read_only=read_only
    )
    received = {name: value for name, value in secrets.items() if name not in spec.env}
    launch: Launch | None = None
    stop_keys, trust, renderer = DEFAULT_STOP_KEYS, None, None
    try:
        launch = _launch(spec, harness, request, {**received, **spec.env})
        stop_keys = harness.stop_keys(request)
        trust, renderer = harness.facts.trust, harness.facts.renderer
        error = _impossible(spec, launch, renderer) or _unforkable(spec, harness, request)
        error = error or (prompt_problem(text, spec.triggers) if spec.triggers else None)
    except HarnessError as problem:
        error = str(problem)
    except Exception as problem:  # noqa: BLE001 (a third party's harness may raise anything: that is its agents' error)
        error = f'the harness "{spec.harness}" failed to build the command line: {type(problem).__name__}: {problem}'
    if error is not None:
        launch = None
    template = Template(harness, request) if spec.triggers and variables_in(text) else None
    argv = [text, asdict(request), error] if launch is None else [list(launch.argv), error]
    return DesiredAgent(
        spec,
        launch,
        error,
        {"argv": digest(key, argv), **_parts(spec, received, user, key)},
        stop_keys,
        None if trust is None else trust.file,
        tuple(received),
        # A renderer of ours stays, whatever the mode.
        stays=request.stays or renderer is not None,
        renderer=renderer,
        template=template,
    )


def _launch(spec: AgentSpec, harness: Harness, request: Request, environment: Mapping[str, str]) -> Launch:
    argv = harness.argv(request)
    stall = spec.policy.stall
    resumes = spec.resume or (stall is not None and StallAction.RESUME in stall.action)
    again = resumes and request.prompt and request.stays and not spec.command
    return Launch(argv, environment, harness.argv(replace(request, prompt="")) if again else ())


def _parts(spec: AgentSpec, received: Mapping[str, str], user: str, key: bytes) -> dict[str, str]:
    """Digest all that makes a launch another one, but for its command line.

    What is at its default is left out, as by versions without it: an upgrade restarts nobody.
    """
    parts = {
        ENVIRONMENT_PART: digest(key, dict(spec.env)),
        SECRETS_PART: digest(key, received),
        "workdir": digest(key, str(spec.workdir)),
        "session": digest(key, spec.session),
        "user": digest(key, user),
        "sandbox": digest(key, [spec.type]),
        "restarted_at": digest(key, spec.restarted_at),
    }
    if spec.type is AgentType.SANDBOXED:
        parts |= _sandbox_parts(spec.sandbox, key)
    if spec.checkout is not None:
        checkout = spec.checkout
        parts["checkout"] = digest(
            key, [str(checkout.repo), str(checkout.path), checkout.branch, checkout.base, checkout.read_only]
        )
    if spec.policy.limits:
        # What they are is policy; that there are any decides whether the run has a control group.
        parts[LIMITS_PART] = digest(key, "declared")
    if not spec.turns:
        parts["turns"] = digest(key, spec.turns)
    return parts


def _sandbox_parts(wish: SandboxSpec, key: bytes) -> dict[str, str]:
    """Digest what differs from the default by the names of its fields, so that a new field restarts nobody."""
    default = asdict(SandboxSpec())
    return {
        "sandbox" if name == "kind" else name: digest(key, [AgentType.SANDBOXED, value])
        for name, value in asdict(wish).items()
        if value != default[name]
    }


def with_egress(desired: DesiredAgent, egress: Mapping[str, str], key: bytes) -> DesiredAgent:
    """Add the secrets that an agent uses without reading them.

    A new value is no other launch, for the agent does not have it; that there is one now decides whether the agent has
    a placeholder.
    """
    if not egress or desired.fingerprint is None:
        return desired
    fingerprint = {**desired.fingerprint, EGRESS_PART: digest(key, sorted(egress))}
    return replace(desired, egress=egress, fingerprint=fingerprint)


def _impossible(spec: AgentSpec, launch: Launch, renderer: str | None) -> str | None:
    """Why no kernel or build could run this, or ``None``."""
    if renderer is not None and spec.type is AgentType.SANDBOXED:
        return (
            f'the harness {spec.harness} cannot be sandboxed: {renderer} runs beside the agent; use type = "native", or'
            " a command that makes a sandbox"
        )
    packages = spec.sandbox.extra_packages if spec.type is AgentType.SANDBOXED else ()
    strange = next((name for name in packages if re.fullmatch(PACKAGE, name, re.ASCII) is None), None)
    if strange is not None:
        return f"extra_packages: expected attributes of nixpkgs, such as ripgrep, found {quote(strange)}"
    if not launch.argv:
        return f"the harness {spec.harness} built an empty command line; expected a program"
    if any("\0" in word for word in launch.argv):
        return "the prompt or an argument contains a NUL character, which no program argument can; remove it"
    return oversized(launch.argv, launch.environment)


def _unforkable(spec: AgentSpec, harness: Harness, request: Request) -> str | None:
    """Why its conversation cannot begin with a fork, or ``None``."""
    reason = None
    if spec.fork_from is None:
        return None
    if harness.facts.forks is Forks.NO:
        reason = f"{spec.harness} cannot fork a conversation"
    elif not request.stays:
        reason = "it answers its prompt, and ends"
    elif not spec.turns:
        reason = "turns = false, so nothing is added to its command line"
    elif spec.type is AgentType.SANDBOXED:
        reason = "it is sandboxed"
    return None if reason is None else f"fork_from has no effect: {reason}; remove it"
