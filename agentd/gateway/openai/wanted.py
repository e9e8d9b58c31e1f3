"""What is asked for, whichever way: a response or a chat completion. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from agentd.gateway.openai.objects import SHOWN_AGAIN, JsonObject
from agentd.gateway.openai.request import CreateResponse

_MAIN: Final = ":main"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A turn to be made."""

    model: str | None
    """Name of an agent, with ``:main`` the agent's own conversation; ``None`` is that of what it continues."""
    items: Sequence[JsonObject]
    """What the agent is told."""
    instructions: str | None = None
    asked: Mapping[str, object] = field(default_factory=dict)
    """The parameters that a response shows again."""
    background: bool = False
    stored: bool = True
    """Whether the response can be found, and continued."""
    previous: str | None = None
    conversation: str | None = None
    request: str | None = None
    """What tells the request from others, if its client may repeat it."""
    param: str = "input"
    """The parameter in which stands what is said."""

    @property
    def alone(self) -> bool:
        """Whether nothing can follow it, so that its agent is not needed after it."""
        return self.conversation is None and not self.stored


def wanted_response(asked: CreateResponse, items: Sequence[JsonObject], request: str | None) -> Wanted:
    """Say what a request for a response wants."""
    given = asked.model_dump(include=set(SHOWN_AGAIN), exclude_none=True)
    conversation = asked.conversation_id
    return Wanted(
        model=asked.model,
        items=items,
        instructions=asked.instructions,
        asked={**given, "conversation": conversation} if conversation else given,
        background=bool(asked.background),
        stored=asked.store is not False,
        previous=asked.previous_response_id,
        conversation=conversation,
        request=request,
    )


def agent_of(model: str) -> tuple[str, bool]:
    """Give the agent's name, and whether its own conversation is meant."""
    return model.removesuffix(_MAIN), model.endswith(_MAIN)
