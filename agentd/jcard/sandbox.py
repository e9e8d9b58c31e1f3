"""Check the fields that have an effect only for sandboxed agents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agentd.jcard.declarations import Declaration
from agentd.jcard.findings import Findings
from agentd.jcard.table import PACKAGES_FIELD, SANDBOX_FIELDS, is_native
from agentd.model.spec import AgentType
from agentd.text.quoting import quote, some

_SANDBOXED: Final = f'type = "{AgentType.SANDBOXED}"'
_NATIVE: Final = f'type = "{AgentType.NATIVE}"'


def check_sandbox(declarations: Sequence[Declaration], findings: Findings) -> None:
    """Warn of what has no effect on a native agent; refuse packages that it would be without.

    A jcard that never says ``type`` was written for the Go agentd, whose default is a sandbox: that is said once.
    """
    untyped = []
    for declaration in declarations:
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
