"""Edit the agents in the text of a jcard. Pure.

Everything else stays as it is, to the character: comments, order, blank lines, quotes, line ends. Each result is
parsed and compared with the same edit of plain data.

Here `text` is the file, valid TOML without a byte order mark, and `name` or `old` is an agent's name, in any case. What
looks an agent up raises `UnknownAgentError` or `ReplicaError` if the file has no definition of that name.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

from agentd.jcard.declarations import Declaration, read_declarations
from agentd.jcard.edit.lines import newline_of
from agentd.jcard.edit.plain import AGENTS, EditError, plain, table_of, verified
from agentd.jcard.edit.splice import add_item, put, take_out
from agentd.jcard.edit.writing import TomlValue
from agentd.jcard.findings import Findings
from agentd.text.quoting import quote

FieldPath: TypeAlias = tuple[str, ...]
"""A field of an agent table: ``("workdir",)``, ``("env", "NAME")``."""


class UnknownAgentError(EditError):
    """There is no agent of that name in the file."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"there is no agent {quote(name)} in the file")
        self.name = name
        self.known = known
        """Names of the definitions in the file."""


class ReplicaError(EditError):
    """The name is that of a replica, which has no definition of its own."""


class NothingToRestartError(EditError):
    """The agent is disabled, so there is no run to replace."""


def declared_agents(text: str) -> dict[str, list[str]]:
    """List the agents that a file declares, in its order.

    Returns
    -------
    dict
        The names of the agents of each definition (itself or its replicas), by its name.
    """
    return {
        declaration.name: [identity.name for identity in declaration.identities()]
        for declaration in _declarations(text)
        if declaration.name is not None
    }


def find_agent(text: str, name: str) -> str:
    """Give the name of a definition as the file spells it."""
    found = _find(text, name).name
    assert found is not None
    return found


def agent_fields(text: str, name: str) -> dict[str, object]:
    """Give the fields of an agent's table as they stand in the file."""
    found: object = tomllib.loads(text)
    for step in _find(text, name).path:
        assert isinstance(found, dict | list)
        found = found[step]  # type: ignore[index]  # a key of a table, an index of a list
    assert isinstance(found, dict)
    return found


def add_agent(text: str, name: str, fields: Mapping[str, TomlValue]) -> str:
    """Add an agent behind the last one, as ``[[agents]]`` (or in ``agents = [ ]`` where that is how they are written).

    Parameters
    ----------
    text
        The file; ``""`` for a new one.
    fields
        The other fields, in order; ``env`` is a mapping.

    Raises
    ------
    EditError
        If the name is taken.
    """
    _require_free(_declarations(text), name)
    table = {"name": name, **{field: value for field, value in fields.items() if field != "name"}}

    def add(values: dict[str, object]) -> None:
        agents = values.setdefault(AGENTS, [])
        if isinstance(agents, list):
            agents.append(plain(table))

    return verified(text, add_item(text, AGENTS, table), add)


def remove_agent(text: str, name: str) -> str:
    """Remove an agent: its table, the tables inside it, and the comment directly above it.

    Without any content left the text is a line break, since an empty file counts as missing.
    """
    path = _find(text, name).path

    def remove(values: dict[str, object]) -> None:
        match path:
            case (_, int(index)):
                agents = values[AGENTS]
                assert isinstance(agents, list)
                del agents[index]
                if not agents:
                    del values[AGENTS]
            case _:
                del values[str(path[0])]

    return verified(text, take_out(text, path) or newline_of(text), remove)


def set_fields(text: str, name: str, fields: Mapping[FieldPath, TomlValue]) -> str:
    """Set fields of an agent; an existing field keeps its position, a new one is appended.

    Raises
    ------
    EditError
        If the new name is taken.
    """
    declaration = _find(text, name)
    path = declaration.path
    if isinstance(new := fields.get(("name",)), str):
        _require_free((other for other in _declarations(text) if other.path != path), new)
    edited = text
    for field, value in fields.items():
        edited = put(edited, (*path, *field), value)

    def change(values: dict[str, object]) -> None:
        for field, value in fields.items():
            table_of(values, path, field)[field[-1]] = plain(value)

    return verified(text, edited, change)


def unset_fields(text: str, name: str, fields: Iterable[FieldPath]) -> str:
    """Remove fields of an agent; missing ones are ignored."""
    path = _find(text, name).path
    fields = list(fields)
    edited = text
    for field in fields:
        edited = take_out(edited, (*path, *field))

    def drop(values: dict[str, object]) -> None:
        for field in fields:
            table_of(values, path, field).pop(field[-1], None)

    return verified(text, edited, drop)


def stop_agent(text: str, name: str) -> str:
    """Disable an agent."""
    return set_fields(text, name, {("enabled",): False}) if _enabled(text, name) else text


def start_agent(text: str, name: str) -> str:
    """Enable an agent: remove ``enabled``, whose default is true."""
    return text if _enabled(text, name) else unset_fields(text, name, [("enabled",)])


def restart_agent(text: str, name: str, at: str) -> str:
    """Have an agent restarted, by a new value of ``restarted_at``, an RFC 3339 time.

    Raises
    ------
    NothingToRestartError
        If it is disabled.
    """
    if not _enabled(text, name):
        raise NothingToRestartError(f"{find_agent(text, name)} is stopped: agentctl start runs it")
    return set_fields(text, name, {("restarted_at",): at})


def scale_agent(text: str, name: str, replicas: int) -> str:
    """Set the number of replicas: several are ``name-0``, ``name-1`` …, one is ``name``.

    Parameters
    ----------
    replicas
        How many agents the definition runs.

    Raises
    ------
    EditError
        If `replicas` is below 1.
    """
    declaration = _find(text, name)
    if replicas < 1:
        raise EditError(
            f"expected 1 replica or more, found {replicas}: "
            f"agentctl stop {declaration.name} keeps the definition, agentctl remove {declaration.name} drops it"
        )
    if declaration.raw.get("replicas", 1) == replicas:
        return text
    return set_fields(text, name, {("replicas",): replicas})


def rename_agent(text: str, old: str, new: str) -> str:
    """Rename an agent; ``session`` stays.

    Raises
    ------
    EditError
        If the name is taken.
    """
    declaration = _find(text, old)
    return text if declaration.raw.get("name") == new else set_fields(text, old, {("name",): new})


def _enabled(text: str, name: str) -> bool:
    return _find(text, name).raw.get("enabled", True) is not False


@lru_cache(maxsize=4)
def _declarations(text: str) -> Sequence[Declaration]:
    # One edit asks this of the same two texts five times, 16 ms each where there are 300 agents.
    return read_declarations(tomllib.loads(text), Findings("", text))


def _find(text: str, name: str) -> Declaration:
    folded = name.casefold()
    declarations = [declaration for declaration in _declarations(text) if declaration.name is not None]
    found = [each for each in declarations if each.name is not None and each.name.casefold() == folded]
    if len(found) > 1:
        raise EditError(f"{len(found)} definitions are called {name}: name them differently first, in an editor")
    if found:
        return found[0]
    for declaration in declarations:
        replicas = [identity.name for identity in declaration.identities()]
        if folded in map(str.casefold, replicas):
            raise ReplicaError(
                f"{name} is one of {len(replicas)} replicas of {declaration.name}, which have one definition: name "
                f"{declaration.name} to change them all, or agentctl scale {declaration.name} N to run fewer or more"
            )
    raise UnknownAgentError(name, [str(declaration.name) for declaration in declarations])


def _require_free(declarations: Iterable[Declaration], name: str) -> None:
    """Refuse the name of a definition or replica; the loader checks only those that run."""
    for declaration in declarations:
        taken = [declaration.name, *(identity.name for identity in declaration.identities())]
        for other in taken:
            if other is not None and other.casefold() == name.casefold():
                raise EditError(f"there is an agent {quote(other)} already; take another name")
