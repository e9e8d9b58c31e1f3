"""Check, for each sandboxed agent, what would be enforced here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from agentd.cli.agentctl.doctor.finding import Finding, error, note, ok
from agentd.cli.agentctl.sandbox_view import sandbox_line
from agentd.model.spec import AgentSpec, AgentType, Network
from agentd.model.user import AgentUser
from agentd.sandbox.egress.certificates import OPENSSL
from agentd.sandbox.engines import Where, look
from agentd.sandbox.granted import shown
from agentd.sandbox.support import SandboxError
from agentd.settings.settings import Runsc
from agentd.text.quoting import quote, some

_ADVICE = "do as it says, or make its type native; docs/sandbox.md says what a sandbox needs"


def check_sandbox(
    agents: Sequence[AgentSpec],
    user: AgentUser,
    environ: Mapping[str, str],
    data_dir: Path,
    runsc: Runsc = Runsc(),  # noqa: B008 (frozen)
) -> Iterator[Finding]:
    """Make a sandbox as the agents' user, if there is an agent that would run in one, and say what it lets each do.

    Parameters
    ----------
    environ
        The daemon's.
    data_dir
        Where the homes of sandboxed agents are.
    """
    sandboxed = [agent for agent in agents if agent.type is AgentType.SANDBOXED and agent.enabled]
    where, able = Where(user, environ, runsc), list[AgentSpec]()
    for kind in dict.fromkeys(agent.sandbox.kind for agent in sandboxed):
        found = [agent for agent in sandboxed if agent.sandbox.kind is kind]
        try:
            engine = look(kind, where)
        except SandboxError as failure:
            names = some([agent.name for agent in found], quote)
            yield error("sandbox", f"agent {names} cannot run: {failure}", _ADVICE)
            continue
        able += found
        for agent in found:
            sandbox = shown(agent, data_dir, None)
            assert sandbox is not None
            line = sandbox_line(replace(sandbox, kind=f"{engine.kind} ({engine.program})"))
            yield ok("sandbox", f"agent {quote(agent.name)} can run by {line}")
    yield from _network(able, where)


def _network(sandboxed: Sequence[AgentSpec], where: Where) -> Iterator[Finding]:
    secret = [agent.name for agent in sandboxed if agent.sandbox.egress_secrets]
    if secret and where.find(OPENSSL) is None:
        yield error(
            "sandbox",
            f"the secrets for hosts of agent {some(secret, quote)} need {OPENSSL}, and there is none on agentd's PATH",
            "apt-get install openssl",
        )
    open_to_host = [agent.name for agent in sandboxed if agent.sandbox.network is Network.HOST]
    if open_to_host:
        yield note(
            "sandbox",
            f"agent {some(open_to_host, quote)} reaches what this machine does, its loopback and abstract sockets too",
            'network = "none", with network_allow for the hosts that it needs',
        )
