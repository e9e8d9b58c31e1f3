"""Deciding which agent holds a new session."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agentd.files.answering import NotAnsweringError, Way
from agentd.gateway.engine.core import Core
from agentd.gateway.ids import new_id
from agentd.gateway.model.caller import Caller
from agentd.gateway.model.errors import AgentNotReadyError, InvalidRequestError, NotFoundError
from agentd.gateway.model.objects import Session
from agentd.gateway.model.requests import NewSession
from agentd.gateway.model.states import SessionStatus
from agentd.gateway.store import managed
from agentd.gateway.store.sessions import StoredSession
from agentd.gateway.talk.declare import own_name
from agentd.gateway.talk.definitions import DefinitionsError
from agentd.gateway.talk.session_table import inside_checkout
from agentd.jcard.checkouts import workdir_in
from agentd.model.spec import AgentSpec


@dataclass(frozen=True, slots=True)
class Parent:
    """Who spawned a session."""

    session_id: str
    run_id: str | None
    owner: str | None


@dataclass(frozen=True, slots=True)
class _Place:
    agent: str | None
    harness: str
    workdir: str
    target: str
    tmux_session: str
    own: bool
    elsewhere: bool


async def plan_session(
    core: Core, caller: Caller, wanted: NewSession, parent: Parent | None = None, fork_from: str | None = None
) -> StoredSession:
    """Decide on everything about a new session.

    Parameters
    ----------
    fork_from
        What its conversation begins with, as in a jcard.

    Raises
    ------
    NotFoundError
        If no such agent is declared.
    InvalidRequestError
        If what is wanted contradicts itself, or the workdir is not in those that are allowed.
    AgentNotReadyError
        If it cannot be read which agents are declared.
    """
    if wanted.harness is not None:
        place = await _ad_hoc(core, wanted)
    else:
        place = await _of_agent(core, caller, wanted)
    now = core.wall()
    session = Session(
        id=new_id("ses", now),
        title=wanted.title,
        status=SessionStatus.OPEN,
        agent=place.agent,
        harness=place.harness,
        workdir=place.workdir,
        tmux_session=place.tmux_session,
        provider_thread_id=None,
        parent_session_id=None if parent is None else parent.session_id,
        parent_run_id=None if parent is None else parent.run_id,
        owner=caller.user if parent is None else parent.owner,
        created_at=now,
        updated_at=now,
        metadata=wanted.metadata,
    )
    return StoredSession(
        session,
        target=place.target,
        own=place.own,
        elsewhere=place.elsewhere,
        used_at=now,
        fork_from=fork_from,
    )


async def declared_agents(core: Core) -> dict[str, AgentSpec]:
    """Give the agents that sessions can work by, by name in lower case.

    Raises
    ------
    AgentNotReadyError
        If it cannot be read which there are.
    """
    try:
        return await core.definitions.agents()
    except DefinitionsError as error:
        raise AgentNotReadyError(f"it cannot be read which agents are declared: {error}") from error


async def agents_for(core: Core, caller: Caller) -> dict[str, AgentSpec]:
    """Give those of `declared_agents` that are there for a caller: not what other users made."""
    found, hidden = await declared_agents(core), await hidden_agents(core, caller)
    return {name: spec for name, spec in found.items() if name not in hidden}


async def hidden_agents(core: Core, caller: Caller) -> frozenset[str]:
    """Give agentd's names, in lower case, of the agents of users that a caller does not see."""
    if caller.sees_all:
        return frozenset()
    async with core.database.read() as connection:
        agents = await managed.every(connection)
    return frozenset(each.agent.lower() for each in agents if not caller.sees(each.username))


async def _ad_hoc(core: Core, wanted: NewSession) -> _Place:
    if wanted.agent is not None:
        raise InvalidRequestError("harness", "expected agent or harness, found both")
    if wanted.main:
        raise InvalidRequestError("main", "expected the agent whose own conversation it is; leave harness out")
    assert wanted.harness is not None
    try:
        known = await core.definitions.harnesses()
    except DefinitionsError as error:
        raise AgentNotReadyError(f"it is not known how agents run: {error}") from error
    if wanted.harness not in known:
        raise InvalidRequestError("harness", f"found {wanted.harness}, expected one of {', '.join(sorted(known))}")
    if wanted.workdir is None:
        raise InvalidRequestError("workdir", "missing, expected the folder to work in")
    workdir = await _allowed(core, wanted.workdir)
    target, tmux_session = own_name(wanted.harness)
    return _Place(None, wanted.harness, str(workdir), target, tmux_session, own=True, elsewhere=True)


async def _of_agent(core: Core, caller: Caller, wanted: NewSession) -> _Place:
    agents = await agents_for(core, caller)
    name = wanted.agent
    if name is None:
        names = sorted(spec.name for spec in agents.values())
        if len(names) != 1:
            raise InvalidRequestError(
                "agent", f"missing, expected one of {', '.join(names) or 'none: none is declared'}"
            )
        (name,) = names
    spec = agents.get(name.lower())
    if spec is None:
        raise NotFoundError(f"there is no agent {name}")
    if not spec.turns:
        raise InvalidRequestError("agent", f"{spec.name} has turns = false: nobody can talk to it here")
    if wanted.main:
        if wanted.workdir is not None:
            raise InvalidRequestError("workdir", f"{spec.name} works where it is declared to; leave it out")
        return _Place(spec.name, spec.harness, str(spec.workdir), spec.name, spec.session, own=False, elsewhere=False)
    target, tmux_session = own_name(spec.name)
    if wanted.workdir is not None:
        workdir = await _allowed(core, wanted.workdir)
    elif spec.checkout is not None:
        workdir = workdir_in(spec.checkout.path.with_name(target), inside_checkout(spec, spec.checkout))
    else:
        workdir = spec.workdir
    return _Place(
        spec.name, spec.harness, str(workdir), target, tmux_session, own=True, elsewhere=wanted.workdir is not None
    )


async def _allowed(core: Core, workdir: str) -> Path:
    """Give the folder itself, if sessions may work in it."""
    try:
        found = await core.looks.along(partial(_inside, workdir, core.options.workdirs))
    except (NotAnsweringError, OSError, ValueError) as error:
        raise InvalidRequestError("workdir", f"{workdir}: {getattr(error, 'strerror', None) or error}") from error
    if found is None:
        raise InvalidRequestError("workdir", f"{workdir} is in none of the folders of [gateway] workdirs")
    return found


def _inside(workdir: str, allowed: tuple[Path, ...], way: Way) -> Path | None:
    if not Path(workdir).is_absolute():
        raise ValueError("expected an absolute path")
    way.to(workdir)
    # Symlinks must not lead out.
    real = Path(workdir).resolve()
    for each in allowed:
        way.to(each)
    if not any(real.is_relative_to(each.resolve()) for each in allowed):
        return None
    if not real.is_dir():
        raise NotADirectoryError(None, "there is no such folder")
    return real
