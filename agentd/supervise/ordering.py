"""What an agent waits for by its ``after``: a function of frozen values, without clock or I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from agentd.model.order import After, Outcome, by_name
from agentd.model.states import AgentState
from agentd.supervise.desired import DesiredAgent
from agentd.supervise.life import Life
from agentd.supervise.plan import changed_parts

_MEANS: Final = {
    Outcome.SUCCESS: frozenset({AgentState.EXITED}),
    Outcome.FAILURE: frozenset({AgentState.FAILED, AgentState.TIMED_OUT}),
    Outcome.END: frozenset({AgentState.EXITED, AgentState.FAILED, AgentState.TIMED_OUT}),
}


def unmet(desired: Mapping[str, DesiredAgent], lives: Mapping[str, Life]) -> Mapping[str, str]:
    """Say what agents wait for, by name; those that may be launched are left out."""
    ordered = [each.spec for each in desired.values() if each.spec.after]
    if not ordered:
        return {}
    known = by_name(desired)
    found = {
        spec.name: "; ".join(
            reason
            for after in spec.after
            for reason in _unmet(after, known.get(after.agent.casefold(), ()), desired, lives)
        )
        for spec in ordered
    }
    return {name: reason for name, reason in found.items() if reason}


def _unmet(
    after: After, names: Sequence[str], desired: Mapping[str, DesiredAgent], lives: Mapping[str, Life]
) -> Iterator[str]:
    if not names:
        yield f"{after.agent} is not declared"
    for name in names:
        life = lives.get(name)
        # What was declared since is launched first.
        again = life is None or bool(changed_parts(life.fingerprint, desired[name].fingerprint))
        state = AgentState.PENDING if life is None or (again and life.state.ended) else life.state
        if state not in _MEANS[after.outcome]:
            how = "end" if after.outcome is Outcome.END else f"end with {after.outcome}"
            yield f"{name} is to {how}, and is {state}"
