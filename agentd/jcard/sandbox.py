"""Check the fields that have an effect only for sandboxed agents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agentd.jcard.declarations import Declaration
from agentd.jcard.findings import Findings
from agentd.jcard.table import PACKAGES_FIELD, SANDBOX_FIELDS, is_native
from agentd.model.spec import AgentType, Network, SandboxKind
from agentd.text.quoting import quote, some

_SANDBOXED: Final = f'type = "{AgentType.SANDBOXED}"'
_NO_NETWORK: Final = f'network = "{Network.NONE}"'
_NATIVE: Final = f'type = "{AgentType.NATIVE}"'
_NEEDS_BUBBLEWRAP: Final = f'needs sandbox = "{SandboxKind.BUBBLEWRAP}"; gVisor has a network of its own'


def check_sandbox(declarations: Sequence[Declaration], findings: Findings) -> None:
    """Warn of what has no effect on a native agent; refuse packages that it would be without.

    A jcard that never says ``type`` was written for the Go agentd, whose default is a sandbox: that is said once.
    """
    untyped = []
    for declaration in declarations:
        _check_network(declaration, findings)
        written = [field for field in SANDBOX_FIELDS if field in declaration.raw]
        if not written or not is_native(declaration.raw):
            continue
        if declaration.written(PACKAGES_FIELD):
            written.remove(PACKAGES_FIELD)
            _refuse_packages(declaration, findings)
        if "type" not in declaration.raw:
            untyped += [declaration] if written else []
            continue
        for field in written:
            message = f"ignored: it has an effect only with {_SANDBOXED}, and this agent is {AgentType.NATIVE}"
            declaration.warning(findings, message, field)
    if untyped:
        _tell_of_default(untyped, findings)


def _check_network(declaration: Declaration, findings: Findings) -> None:
    """Refuse what would not bound a sandboxed agent's network, and secrets that would not be kept from an agent."""
    native, bubblewrap = is_native(declaration.raw), declaration.written("sandbox") != SandboxKind.GVISOR
    bounded = declaration.written("network") == Network.NONE
    if declaration.written("network_allow") and not native:
        if not bounded:
            message = f'has an effect only with {_NO_NETWORK}, and this agent has network = "{Network.HOST}", which '
            declaration.error(findings, f"{message}reaches everything", "network_allow")
        elif not bubblewrap:
            declaration.error(findings, _NEEDS_BUBBLEWRAP, "network_allow")
    written = declaration.written("secrets")
    grants = written if isinstance(written, list) else []
    names: set[object] = set()
    for index, secret in enumerate(grants):
        name = secret["name"] if isinstance(secret, dict) else secret
        if isinstance(secret, dict):
            if native:
                message = f"a secret that the agent cannot read needs {_SANDBOXED}; this agent is {AgentType.NATIVE}"
                declaration.error(findings, message, "secrets", index)
            elif not bounded:
                message = f"a secret that the agent cannot read needs {_NO_NETWORK}, so that it goes through the proxy"
                declaration.error(findings, message, "secrets", index)
            elif not bubblewrap:
                declaration.error(findings, _NEEDS_BUBBLEWRAP, "secrets", index)
            if name in names or name in grants:
                message = f"the secret {quote(name)} is granted more than once; expected one grant, with all its hosts"
                declaration.error(findings, message, "secrets", index)
        names.add(name)


def _refuse_packages(declaration: Declaration, findings: Findings) -> None:
    reason = f"this agent is {AgentType.NATIVE}" + ("" if "type" in declaration.raw else ", as long as type is not set")
    message = f"has an effect only with {_SANDBOXED}; {reason}, and would be without them"
    declaration.error(findings, message, PACKAGES_FIELD)


def _tell_of_default(untyped: Sequence[Declaration], findings: Findings) -> None:
    first, *others = untyped
    field = next(field for field in SANDBOX_FIELDS if field in first.raw)
    also = f"; likewise agent {some([other.label for other in others], quote)}" if others else ""
    first.warning(
        findings,
        f"ignored, for type is not set and agents are then {AgentType.NATIVE} (the Go agentd ran them in a sandbox): "
        f"write {_NATIVE} or {_SANDBOXED}{also}",
        field,
    )
