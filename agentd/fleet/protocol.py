"""What agentctl asks of agentd-fleet, on a Unix socket beside each agentd; both sides share these values.

The socket is `agentd.settings.sockets.fleet_socket`, mode and group those of agentd's own. It speaks HTTP with JSON
like agentd's; an error is ``{"error": "..."}`` with its status. 503 says that the Controller does not answer, 404 that
an agent or host is not known, 409 that a host does not answer now, or does though it is to be forgotten, 422 that a
jcard is refused (a line a problem). The first byte of an answer comes within 4 s: agentctl takes 5 s without one for
nobody there.

What agentd serves on its sockets, for all hosts:

- ``GET /v1/agents``: each agent that a host runs, as agentd shows it, with ``host`` beside it, sorted by name. A host
  that does not answer is left out, and `HostView.note` says so.
- ``GET /v1/agents/NAME`` and what is below it, such as ``/logs``, ``/runs`` and ``/screen``: what the agentd of the
  agent's host answers, with its status and headers; also where the answer goes on.
- any method on ``/v1/turns/NAME`` and what is below it: what that host's socket for turns answers.
- ``GET /v1/events`` with exactly one ``agent``: as what is below an agent, so with the numbers of its host. Else, with
  agentd's other parameters, the events of all hosts by time, each with ``host``; ``since`` takes a time alone, and
  ``follow`` may be refused with 501.
- ``GET /v1/health``: as agentd's, of agentd-fleet itself; ``agents`` counts those of all hosts, ``config.path`` is the
  jcard that was applied last, as it was named.

And of the fleet alone, below: what `*_PATH` names. The methods stand with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

FLEET_PATH: Final = "/v1/fleet"
"""GET: a `FleetView`."""

HOSTS_PATH: Final = "/v1/fleet/hosts"
"""GET: an array of `HostView`, by name."""

AGENTS_PATH: Final = "/v1/fleet/agents"
"""GET: an array of `PlacedView` by name: all agents that are wished for, and those that are being stopped."""

PLAN_PATH: Final = "/v1/fleet/plan"
"""POST a `JcardBody`: a `PlanView` of what applying it would do. Changes nothing."""

APPLY_PATH: Final = "/v1/fleet/apply"
"""POST a `JcardBody`: a `PlanView` of what is done now. The answer comes once the Controller has stored it."""

DRAIN_PATH: Final = "/v1/fleet/drain"
"""POST ``{"host": NAME}``: a `PlanView`. Everything is moved away, and nothing is placed there."""

UNCORDON_PATH: Final = "/v1/fleet/uncordon"
"""POST ``{"host": NAME}``: a `PlanView`. Takes back what drain said."""

FORGET_PATH: Final = "/v1/fleet/forget"
"""POST ``{"host": NAME}``: a `PlanView`. Says that nothing of a lost host runs any more: it is taken off the list, and
its agents are placed anew, at once. 409 if it answers."""

REBALANCE_PATH: Final = "/v1/fleet/rebalance"
"""POST ``{"dry_run": true or false}``: a `PlanView`."""

MOST_JCARD_BYTES: Final = 8 * 1024 * 1024


class HostState(StrEnum):
    """How a host is doing."""

    READY = "ready"
    DRAINING = "draining"
    """It takes nothing, and is being emptied, or is empty."""
    LOST = "lost"
    """It does not answer; its agents may still run, until their lease ends. `HostView.note` says so if nobody is
    there to end them."""
    FENCED = "fenced"
    """It does not answer, and for so long that nothing of it runs any more."""


class Placement(StrEnum):
    """How far an agent has come."""

    PLACED = "placed"
    """It has a host, which has been told."""
    PENDING = "pending"
    """It has no host."""
    MOVING = "moving"
    """It is being stopped where it is, and has another host after that, if one takes it."""
    WAITING = "waiting"
    """Its host is lost, and it is launched nowhere else, or not yet."""
    LEAVING = "leaving"
    """It is wished for no more, and is being stopped."""


@dataclass(frozen=True, slots=True)
class JcardBody:
    """What is planned or applied."""

    jcard: str
    """Its content."""
    path: str
    """What messages call it."""


@dataclass(frozen=True, slots=True)
class HostView:
    """A host of the fleet."""

    name: str
    state: HostState
    slots: int
    cpus: float
    memory: int
    """Bytes."""
    gpus: float
    labels: Mapping[str, str]
    used_slots: int
    used_cpus: float
    used_memory: int
    used_gpus: float
    agents: int
    """That are placed there."""
    address: str | None
    """What ssh and Ray reach it by."""
    version: str | None
    """Of its agentd; null if that does not answer."""
    seen_at: str | None
    """When it last answered, RFC 3339."""
    note: str | None
    """What is wrong with it; null if nothing is."""


@dataclass(frozen=True, slots=True)
class PlacedView:
    """Where an agent is."""

    name: str
    placement: Placement
    host: str | None
    """Where it is, or is to be."""
    previous: str | None
    """Where it is being stopped."""
    reason: str
    """Why it has no host, moves or waits, or is still there; empty if there is nothing to say."""


@dataclass(frozen=True, slots=True)
class FleetView:
    """The fleet as a whole."""

    controller: str | None
    """The host that the Controller is on; null if it does not say."""
    version: str
    """Of agentd-fleet where the Controller is."""
    started_at: str
    """When this Controller started, RFC 3339."""
    revision: int
    """How often a jcard has been applied."""
    jcard: str | None
    """What the jcard that was applied last was called; null before the first."""
    applied_at: str | None
    lease: float
    """Seconds after which a host that is cut off stops its agents."""
    hosts: int
    hosts_ready: int
    agents: int
    """That are wished for."""
    agents_placed: int
    agents_pending: int
    warnings: Sequence[str]
    """What somebody should look at."""


@dataclass(frozen=True, slots=True)
class AssignmentView:
    """What a plan says of an agent; as `agentd.fleet.plans.Assignment`."""

    agent: str
    step: str
    """stay, start, move, wait or pending; or remove."""
    host: str | None
    previous: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class PlanView:
    """What a plan says."""

    assignments: Sequence[AssignmentView]
    """By name; those that are removed are among them."""
    warnings: Sequence[str]
    """Of the jcard."""
    applied: bool
    """Whether it is being done."""
