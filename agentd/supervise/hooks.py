"""What the reconciler hands to those who serve all agents, when they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from agentd.model.spec import AgentSpec
from agentd.model.states import AgentState
from agentd.sandbox.covering import Boxed
from agentd.sandbox.egress.service import Running


@dataclass(frozen=True, slots=True)
class Hooks:
    """What may be asked of all agents, and whom to tell."""

    specs: Callable[[], Iterable[AgentSpec]]
    """All agents that are declared."""
    boxed: Callable[[], Iterable[Boxed]]
    """Sandboxed agents that run."""
    served: Callable[[], Iterable[Running]]
    """Runs whose way out is to be served."""
    look_for_oom: Callable[[str], None]
    """Told of a run of which the kernel has killed a process for lack of memory."""
    state_changed: Callable[[AgentState | None], None]
    """Told the new state of an agent, when it is another."""
    reconcile: Callable[[], None]
    """Makes a pass."""
