"""What an edit leaves behind that names an agent: it is about nobody then, and nothing else would say so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from agentd.jcard.drop_ins import TakenFile
from agentd.model.order import by_name
from agentd.model.spec import AgentSpec
from agentd.text.quoting import quote


def names_left(before: Sequence[AgentSpec], after: Sequence[AgentSpec], files: Iterable[TakenFile]) -> list[str]:
    """Warn of each name that was of an agent before an edit, and is of none after it.

    Parameters
    ----------
    files
        As they are after it.
    """
    was, now = ([agent.name for agent in agents] for agents in (before, after))
    waited, waits = by_name(was), by_name(now)
    found = [
        f"{agent.name} waits for {other.agent}, which is not declared any more: change its after, too"
        for agent in after
        for other in agent.after
        if other.agent.casefold() in waited and other.agent.casefold() not in waits
    ]
    for table, patterns in _tables(files):
        found += [
            f"{table} names {quote(pattern)}, which is no agent any more: change its agents, too"
            for pattern in patterns
            if _any_is(was, pattern) and not _any_is(now, pattern)
        ]
    return list(dict.fromkeys(found))


def _tables(files: Iterable[TakenFile]) -> Iterator[tuple[str, Sequence[str]]]:
    for file in files:
        content = file.in_force
        if content is None:
            continue
        for table, rules in (
            ("[[approve]]", content.approvals),
            ("[[notify]]", content.notify),
            ("[[pools]]", () if content.capacity is None else content.capacity.pools),
        ):
            for rule in rules:
                yield f"a table {table}", rule.agents or ()


def _any_is(names: Iterable[str], pattern: str) -> bool:
    return any(fnmatchcase(name.casefold(), pattern.casefold()) for name in names)
