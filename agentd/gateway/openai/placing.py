"""Where a turn is made: in which session, after which run, and what its agent must be told first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from http import HTTPStatus

from agentd.gateway.engine.engine import Engine
from agentd.gateway.engine.texts import check_text
from agentd.gateway.http.errors import ApiError
from agentd.gateway.model.caller import Caller
from agentd.gateway.model.errors import InvalidRequestError, NotForkableError, NotFoundError, TooLargeError
from agentd.gateway.model.requests import NewSession
from agentd.gateway.model.states import SessionStatus
from agentd.gateway.openai.conversations import Conversations
from agentd.gateway.openai.objects import JsonObject
from agentd.gateway.openai.refusal import refuse
from agentd.gateway.openai.request import empty_input
from agentd.gateway.openai.said import message_to_agent
from agentd.gateway.openai.wanted import Wanted, agent_of
from agentd.gateway.store.responses import StoredResponse


@dataclass(frozen=True, slots=True)
class Place:
    """Where a turn is made."""

    session_id: str
    model: str
    harness: str
    before: Sequence[JsonObject] = ()
    """What the agent must be told first."""
    told: Sequence[int] = ()
    """Positions of that in the conversation."""
    expect_last_run: str | None = None
    fresh: bool = False
    """Whether the session was made for it."""
    follows: StoredResponse | None = None
    """The response that it goes on from, if that is the last of its session."""


class Placing:
    """Finds the place of a turn.

    Parameters
    ----------
    find
        Finds a response that clients can find.
    """

    def __init__(
        self,
        engine: Engine,
        conversations: Conversations,
        find: Callable[[str], Awaitable[StoredResponse | None]],
    ) -> None:
        self._engine = engine
        self._conversations = conversations
        self._find = find

    async def place(self, caller: Caller, wanted: Wanted) -> Place:
        """Find where a turn is made; a session may be made for it.

        Raises
        ------
        ApiError
            If it cannot be made.
        """
        if wanted.conversation is not None:
            return await self._in_conversation(caller, wanted, wanted.conversation)
        _check(message_to_agent(wanted.instructions, wanted.items), wanted.param)
        if wanted.previous is None:
            return await self._fresh(caller, wanted.model)
        previous = await self._find(wanted.previous)
        if previous is None or not caller.sees(previous.owner):
            raise refuse(
                "previous_response_id",
                f"Previous response with id '{wanted.previous}' not found.",
                "previous_response_not_found",
            )
        if wanted.model not in (None, previous.model):
            raise not_forkable(previous.id, f"it is of {previous.model!r}, and the model asked for is another")
        if previous.conversation_id is not None:
            # What follows is to be no part of that conversation, if it can be helped.
            with suppress(ApiError):
                return await self.forked(caller, previous)
        return Place(
            previous.session_id,
            previous.model,
            previous.harness,
            expect_last_run=previous.run_id,
            follows=previous,
        )

    async def forked(self, caller: Caller, previous: StoredResponse) -> Place:
        """Find a place after a response, beside what followed it; a session is made for it.

        Raises
        ------
        ApiError
            If there is none.
        """
        try:
            session = await self._engine.sessions.fork(caller, previous.run_id)
        except (NotForkableError, NotFoundError) as error:
            raise not_forkable(previous.id, f"the conversation went on since, or is closed, and {error}") from None
        return Place(session.id, previous.model, previous.harness, fresh=True)

    async def _in_conversation(self, caller: Caller, wanted: Wanted, identity: str) -> Place:
        conversation = await self._conversations.find(caller, identity)
        model = wanted.model or conversation.model
        untold = await self._conversations.untold(identity)
        _check(message_to_agent(wanted.instructions, [*untold.values(), *wanted.items]), wanted.param)
        if conversation.session_id is not None and model == conversation.model:
            with suppress(NotFoundError):
                session = (await self._engine.sessions.get(caller, conversation.session_id)).session
                if session.status is SessionStatus.OPEN:
                    assert model is not None
                    return Place(session.id, model, session.harness, [*untold.values()], [*untold])
        # Another agent, or another session of it, has to be told all that was said.
        said = await self._conversations.items(caller, identity)
        return replace(await self._fresh(caller, model), before=said, told=[*untold])

    async def _fresh(self, caller: Caller, model: str | None) -> Place:
        if model is None:
            raise refuse("model", "Missing required parameter: 'model'.", "missing_required_parameter")
        agent, main = agent_of(model)
        try:
            session = await self._engine.sessions.create(caller, NewSession(agent=agent, main=main))
        except NotFoundError:
            message = f"The model '{model}' does not exist: GET /v1/models lists those that do."
            raise ApiError(HTTPStatus.NOT_FOUND, "model_not_found", message, param="model") from None
        except InvalidRequestError as error:
            raise refuse("model", f"The model '{model}' cannot be used: {error}.", "invalid_value") from None
        return Place(session.id, model, session.harness, fresh=not main)


def _check(text: str, param: str) -> None:
    """Refuse what no agent can be told, before anything is made for it.

    Raises
    ------
    ApiError
        Which names the parameter.
    """
    if not text.strip():
        raise empty_input(param)
    try:
        check_text(param, text)
    except TooLargeError as error:
        raise ApiError(error.status, error.code, str(error), param=param) from None
    except InvalidRequestError as error:
        raise refuse(param, f"Invalid {error}.", "invalid_value") from None


def not_forkable(identity: str, why: str) -> ApiError:
    """Say that a response cannot be continued."""
    return refuse(
        "previous_response_id",
        f"Response '{identity}' cannot be continued: {why}. Continue the last response of the conversation.",
        "previous_response_not_forkable",
    )
