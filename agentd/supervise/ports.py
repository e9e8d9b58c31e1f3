"""Which ports agents get: functions of frozen values, without I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Final, TypeAlias

from agentd.model.spec import AgentSpec

FIRST: Final = 20000
LAST: Final = 32767
"""Below the ports that Linux gives to outgoing connections, from 32768 on: none of them takes one meanwhile."""

MOST_REMEMBERED: Final = 4096
"""Agents that are no longer declared whose ports are remembered; the oldest are forgotten first."""

Ports: TypeAlias = Mapping[str, Mapping[str, int]]
"""The port of each variable, by agent; in the order in which agents came."""


def candidates(seed: str, agent: str, variable: str) -> Iterator[int]:
    """Give all ports, from one on that is always the same for this agent and variable.

    Parameters
    ----------
    seed
        Tells apart agents of one name on one machine.
    """
    count = LAST - FIRST + 1
    digest = blake2b(f"{seed}\0{agent}\0{variable}".encode(), digest_size=8).digest()
    start = int.from_bytes(digest, "big") % count
    return (FIRST + (start + step) % count for step in range(count))


def assign(wanted: Mapping[str, Sequence[str]], held: Ports, seed: str, free: Callable[[int], bool]) -> Ports:
    """Give each variable of each declared agent a port, and remember those of agents that are not declared now.

    What is held stays as it is. A port that an agent held which is not declared is given to another only if there is
    none left that was never held. A variable for which there is no port at all gets none.

    Parameters
    ----------
    wanted
        Variables, by declared agent.
    free
        Whether nobody listens on a port.
    """
    assigned = {agent: dict(ports) for agent, ports in held.items()}
    for agent, variables in wanted.items():
        known = assigned.get(agent, {})
        assigned[agent] = {variable: known[variable] for variable in variables if variable in known}
    taken = {port for ports in assigned.values() for port in ports.values()}
    for agent, variables in wanted.items():
        for variable in variables:
            if variable in assigned[agent]:
                # Behind those before it.
                assigned[agent][variable] = assigned[agent].pop(variable)
                continue
            port = _first_free(candidates(seed, agent, variable), taken, free)
            if port is None and assigned.keys() - wanted.keys():
                assigned = {name: ports for name, ports in assigned.items() if name in wanted}
                taken = {port for ports in assigned.values() for port in ports.values()}
                port = _first_free(candidates(seed, agent, variable), taken, free)
            if port is not None:
                assigned[agent][variable] = port
                taken.add(port)
    gone = [name for name in assigned if name not in wanted]
    forgotten = frozenset(gone[: max(0, len(gone) - MOST_REMEMBERED)])
    return {agent: ports for agent, ports in assigned.items() if agent not in forgotten}


def _first_free(ports: Iterator[int], taken: set[int], free: Callable[[int], bool]) -> int | None:
    return next((port for port in ports if port not in taken and free(port)), None)


def with_ports(spec: AgentSpec, ports: Mapping[str, int]) -> AgentSpec:
    """Give an agent its ports, in its environment."""
    if not spec.ports:
        return spec
    given = {variable: str(ports[variable]) for variable in spec.ports if variable in ports}
    return replace(spec, env={**spec.env, **given})


def no_port(spec: AgentSpec) -> str | None:
    """Say which variable of an agent got no port, if one did not."""
    missing = next((variable for variable in spec.ports if variable not in spec.env), None)
    return None if missing is None else f"ports: there is no free port from {FIRST} to {LAST} for {missing}"


def ports_of(spec: AgentSpec) -> Mapping[str, int]:
    """Tell the ports that an agent was given."""
    return {variable: int(spec.env[variable]) for variable in spec.ports if variable in spec.env}
