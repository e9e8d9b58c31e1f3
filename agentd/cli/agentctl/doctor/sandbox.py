"""Check whether sandboxed agents can run here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from agentd.cli.agentctl.doctor.finding import Finding, error, ok
from agentd.model.spec import AgentSpec, AgentType
from agentd.model.user import AgentUser
from agentd.sandbox.support import SandboxError, look
from agentd.text.quoting import quote, some


def check_sandbox(agents: Sequence[AgentSpec], user: AgentUser, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Make a sandbox as the agents' user, if there is an agent that would run in one.

    Parameters
    ----------
    environ
        The daemon's.
    """
    names = [agent.name for agent in agents if agent.type is AgentType.SANDBOXED and agent.enabled]
    if not names:
        return
    try:
        support = look(user, environ)
    except SandboxError as failure:
        yield error(
            "sandbox", f"agent {some(names, quote)} cannot run: {failure}", "docs/sandbox.md says what a sandbox needs"
        )
        return
    yield ok("sandbox", f"agent {some(names, quote)} can run: {support.bwrap}")
