"""The routes of ``/v1/conversations``."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from agentd.gateway.http.access import caller
from agentd.gateway.http.body import read_json
from agentd.gateway.http.idempotent import answer_named, once_of
from agentd.gateway.http.route import ENGINE, Route
from agentd.gateway.ids import new_id
from agentd.gateway.model.objects import encoded
from agentd.gateway.model.once import Once
from agentd.gateway.openai.conversations import Conversations
from agentd.gateway.openai.objects import JsonObject, conversation, page
from agentd.gateway.openai.pages import PageQuery, page_of
from agentd.gateway.openai.refusal import parse
from agentd.gateway.openai.request import Metadata
from agentd.gateway.openai.said import items_of
from agentd.gateway.openai.turn import RESPONSES
from agentd.gateway.store.conversations import StoredConversation
from agentd.gateway.store.database import Writer
from agentd.model.gateway import Scope

_PATH: Final = "/v1/conversations"
_MOST_ITEMS: Final = 20


class CreateConversation(BaseModel):
    """The body of ``POST /v1/conversations``."""

    model_config = ConfigDict(extra="forbid")

    items: Annotated[list[object], Field(max_length=_MOST_ITEMS)] | None = None
    metadata: Metadata | None = None


class UpdateConversation(BaseModel):
    """The body of ``POST /v1/conversations/{conversation}``."""

    model_config = ConfigDict(extra="forbid")

    metadata: Metadata | None


class CreateItems(BaseModel):
    """The body of ``POST /v1/conversations/{conversation}/items``."""

    model_config = ConfigDict(extra="forbid")

    items: Annotated[list[object], Field(min_length=1, max_length=_MOST_ITEMS)]


def _of(request: web.Request) -> tuple[Conversations, str]:
    return request.app[RESPONSES].conversations, request.match_info.get("conversation", "")


def _shown(found: StoredConversation) -> JsonObject:
    return conversation(found.id, int(found.created_at), found.metadata)


async def create(request: web.Request) -> web.Response:
    """Begin a conversation."""
    conversations, _ = _of(request)
    body = await read_json(request)
    asked = parse(CreateConversation, body)
    items = items_of(asked.items or [], new_id, "items")

    async def act(once: Once | None) -> JsonObject:
        async def note(writer: Writer, new: StoredConversation) -> None:
            await request.app[ENGINE].answers.keep(writer, once, HTTPStatus.OK, encoded(_shown(new)))

        return _shown(await conversations.create(caller(request), asked.metadata or {}, items, note))

    return await answer_named(request, once_of(request, body), HTTPStatus.OK, act)


async def get(request: web.Request) -> web.Response:
    """Show a conversation."""
    conversations, identity = _of(request)
    return web.json_response(_shown(await conversations.find(caller(request), identity)))


async def update(request: web.Request) -> web.Response:
    """Replace what is noted of a conversation."""
    conversations, identity = _of(request)
    asked = parse(UpdateConversation, await read_json(request))
    return web.json_response(_shown(await conversations.update(caller(request), identity, asked.metadata or {})))


async def delete(request: web.Request) -> web.Response:
    """Remove a conversation."""
    conversations, identity = _of(request)
    await conversations.remove(caller(request), identity)
    return web.json_response({"id": identity, "object": "conversation.deleted", "deleted": True})


async def list_items(request: web.Request) -> web.Response:
    """Show what was said in a conversation."""
    conversations, identity = _of(request)
    return web.json_response(page_of(request, await conversations.items(caller(request), identity)))


async def create_items(request: web.Request) -> web.Response:
    """Put items at the end of a conversation."""
    conversations, identity = _of(request)
    body = await read_json(request)
    asked = parse(CreateItems, body)
    items = items_of(asked.items, new_id, "items")

    answer = page(items, more=False)

    async def act(once: Once | None) -> JsonObject:
        async def note(writer: Writer, _items: Sequence[JsonObject]) -> None:
            await request.app[ENGINE].answers.keep(writer, once, HTTPStatus.OK, encoded(answer))

        await conversations.add_items(caller(request), identity, items, note)
        return answer

    return await answer_named(request, once_of(request, body), HTTPStatus.OK, act)


async def get_item(request: web.Request) -> web.Response:
    """Show an item of a conversation."""
    conversations, identity = _of(request)
    return web.json_response(await conversations.item(caller(request), identity, request.match_info["item"]))


async def delete_item(request: web.Request) -> web.Response:
    """Take an item out of a conversation."""
    conversations, identity = _of(request)
    left = await conversations.remove_item(caller(request), identity, request.match_info["item"])
    return web.json_response(_shown(left))


_ONE: Final = _PATH + "/{conversation}"
_ITEMS: Final = _ONE + "/items"
_ITEM: Final = _ITEMS + "/{item}"

CONVERSATION_ROUTES: Final = (
    Route("POST", _PATH, create, "Begin a conversation", scope=Scope.CHAT, takes=CreateConversation),
    Route("GET", _ONE, get, "Show a conversation"),
    Route("POST", _ONE, update, "Replace its metadata", scope=Scope.CHAT, takes=UpdateConversation),
    Route("DELETE", _ONE, delete, "Remove a conversation", scope=Scope.CHAT),
    Route("GET", _ITEMS, list_items, "What was said in it", query=PageQuery),
    Route("POST", _ITEMS, create_items, "Add to it", scope=Scope.CHAT, takes=CreateItems),
    Route("GET", _ITEM, get_item, "Show an item"),
    Route("DELETE", _ITEM, delete_item, "Take an item out", scope=Scope.CHAT),
)
