"""Which of the server's conversations is the one that the terminal has."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Final

from agentd.turns.adapter import Terminal, TurnsError
from agentd.turns.fields import mapping, number
from agentd.turns.fields import text as text_of
from agentd.turns.opencode.home_screen import is_home
from agentd.turns.opencode.server import Server

_MOST_AT_WORK: Final = 16
"""Conversations at work, those of subagents among them, of which the one is sought that the terminal has."""


async def at_work(server: Server, statuses: Mapping[str, object]) -> str | None:
    """Give the only conversation at work, if there is but one: the terminal's, which was gone over to unheard."""
    found = []
    for session in list(statuses)[:_MOST_AT_WORK]:
        with contextlib.suppress(FileNotFoundError):
            if not text_of(await server.get(f"/session/{session}"), "parentID"):
                found.append(session)
    return found[0] if len(found) == 1 else None


async def begun_at(terminal: Terminal, server: Server, since: float) -> str | None:
    """Give the conversation that was begun there before the server was heard: the only one since in the folder.

    A second OpenCode in the folder has its own, and knows this one too: it is ours if the terminal shows one.

    Parameters
    ----------
    since
        In seconds since the epoch.

    Raises
    ------
    OSError
        If the server or the terminal cannot be asked.
    """
    begun = [
        text_of(each, "id")
        for each in await server.get_all(f"/session?roots=true&start={round(since * 1000)}")
        if number(mapping(each, "time"), "created") >= since * 1000 and not text_of(each, "parentID")
    ]
    try:
        shown = is_home((await terminal.look()).rows) is False
    except TurnsError as error:
        raise OSError(str(error)) from error
    return begun[0] if shown and len(begun) == 1 else None
