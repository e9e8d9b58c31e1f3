"""A conversation of OpenCode that begins with what another one was up to a turn.

Measured with 1.18.33: its server copies the messages before one that is named, and all of them if there is none of that
name; the copy works in the folder of the other one, whichever server makes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from agentd.model.spec import ForkPoint
from agentd.turns.adapter import NotNowError, RefusedError
from agentd.turns.fields import mapping, text
from agentd.turns.opencode.server import Server

_ATTEMPTS: Final = 3
"""How often it is tried while the other conversation goes on."""

_LIMIT: Final = 10.0
"""Seconds for all of it: a message must be handed over in 30."""


async def fork(server: Server, point: ForkPoint) -> tuple[str, frozenset[str]]:
    """Fork a conversation.

    Returns
    -------
    The id of the new one, and of the messages that it begins with.

    Raises
    ------
    NotNowError
        If the server cannot be asked just now.
    RefusedError
        If it cannot be done.
    """
    place = f"/session/{point.conversation}"
    try:
        folder, other = text(await server.get("/path"), "directory"), text(await server.get(place), "directory")
        if folder != other:
            raise RefusedError(f"a fork of {point.conversation} would work in {other}, not in {folder}")
        async with asyncio.timeout(_LIMIT):
            for _ in range(_ATTEMPTS):
                copied, after = _up_to(await server.get_all(f"{place}/message"), point)
                named = {} if after is None else {"messageID": after}
                made = text(await server.post(f"{place}/fork", named, _LIMIT), "id")
                begins_with = await server.get_all(f"/session/{made}/message")
                if len(begins_with) == copied:
                    return made, frozenset(_id(each) for each in begins_with)
                # A message came between: without a name to end before, it was copied, too.
    except FileNotFoundError:
        raise RefusedError(f"opencode has no conversation {point.conversation}") from None
    except OSError as error:
        raise NotNowError(f"opencode cannot be asked about {point.conversation}: {error}") from error
    raise NotNowError(f"opencode did not fork {point} as it was asked to")


def _up_to(messages: Sequence[Mapping[str, object]], point: ForkPoint) -> tuple[int, str | None]:
    """Say how many messages there are up to the end of a turn, and which one follows."""
    if point.turn is None:
        return len(messages), None
    begins = [at for at, each in enumerate(messages) if _id(each) == point.turn]
    if not begins:
        raise RefusedError(f"opencode's conversation {point.conversation} has no turn {point.turn}")
    for at in range(begins[0] + 1, len(messages)):
        if text(mapping(messages[at], "info"), "role") == "user":
            return at, _id(messages[at])
    return len(messages), None


def _id(message: Mapping[str, object]) -> str:
    return text(mapping(message, "info"), "id")
