"""Which agents wait for others, by ``after``: reading it, and finding circles. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from agentd.jcard.declarations import Declaration
from agentd.jcard.findings import Findings
from agentd.model.order import After, by_name
from agentd.model.spec import AgentSpec
from agentd.text.quoting import quote


def parse_after(written: Sequence[str]) -> tuple[After, ...]:
    """Read ``after``, whose texts are right one by one."""
    return tuple(dict.fromkeys(map(After.parse, written)))


def check_circles(declarations: Sequence[Declaration], findings: Findings) -> None:
    """Refuse agents that would wait for each other for ever."""
    waits: dict[str, Sequence[After]] = {}
    places: dict[str, Declaration] = {}
    for declaration in declarations:
        for identity in declaration.identities():
            waits[identity.name] = parse_after(() if declaration.table is None else declaration.table.after)
            places[identity.name] = declaration
    circle = find_circle(waits)
    if circle:
        places[circle[0]].error(findings, in_words(circle), "after")


def circle_of(specs: Iterable[AgentSpec]) -> Sequence[str]:
    """Find agents that would wait for each other; none if there are none."""
    waits: dict[str, Sequence[After]] = {}
    for spec in specs:
        waits[spec.name] = (*waits.get(spec.name, ()), *spec.after)
    return find_circle(waits)


def in_words(circle: Sequence[str]) -> str:
    """Say what is wrong."""
    return f"{' waits for '.join(map(quote, circle))}: none of them would ever be launched; take one of these out"


def find_circle(waits: Mapping[str, Sequence[After]]) -> Sequence[str]:
    """Find agents of which each waits for the next, and the last is the first again; none if there are none."""
    if not any(waits.values()):
        return ()
    known = by_name(waits)
    order = {
        name: {other for after in afters for other in known.get(after.agent.casefold(), ())}
        for name, afters in waits.items()
    }
    try:
        TopologicalSorter(order).prepare()
    except CycleError as error:
        # It names each before the one that waits for it.
        found: Sequence[str] = error.args[1]
        return tuple(reversed(found))
    return ()
