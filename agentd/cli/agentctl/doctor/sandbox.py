"""Check whether sandboxed agents can run here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from agentd.cli.agentctl.doctor.finding import Finding, error, ok
from agentd.model.spec import AgentSpec, AgentType
from agentd.model.user import AgentUser
from agentd.sandbox.engines import Where, look
from agentd.sandbox.support import SandboxError
from agentd.text.quoting import quote, some


def check_sandbox(agents: Sequence[AgentSpec], user: AgentUser, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Make a sandbox as the agents' user, if there is an agent that would run in one.

    Parameters
    ----------
    environ
        The daemon's.
    """
    sandboxed = [agent for agent in agents if agent.type is AgentType.SANDBOXED and agent.enabled]
    for kind in dict.fromkeys(agent.sandbox.kind for agent in sandboxed):
        names = some([agent.name for agent in sandboxed if agent.sandbox.kind is kind], quote)
        try:
            engine = look(kind, Where(user, environ))
        except SandboxError as failure:
            yield error("sandbox", f"agent {names} cannot run: {failure}", "docs/sandbox.md says what a sandbox needs")
        else:
            yield ok("sandbox", f"agent {names} can run: {engine.program}")
