"""Parts of lists, as OpenAI gives them: after an item, in either order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from agentd.gateway.openai.objects import JsonObject, page
from agentd.gateway.openai.refusal import parse, refuse


class PageQuery(BaseModel):
    """Which part of a list is asked for."""

    model_config = ConfigDict(extra="ignore")

    after: str | None = None
    limit: int = Field(default=20, ge=1, le=100)
    order: Literal["asc", "desc"] = "desc"


def page_of(request: web.Request, items: Sequence[JsonObject]) -> JsonObject:
    """Give the part of a list that a request asks for.

    Parameters
    ----------
    items
        All of the list, the oldest first.

    Raises
    ------
    ApiError
        If a parameter is wrong, or no item is the one to begin after.
    """
    query = parse(PageQuery, dict(request.query))
    ordered = list(items) if query.order == "asc" else list(reversed(items))
    start = 0
    if query.after is not None:
        ids = [item["id"] for item in ordered]
        if query.after not in ids:
            raise refuse("after", f"No item with id '{query.after}' found.", "invalid_value")
        start = ids.index(query.after) + 1
    part = ordered[start : start + query.limit]
    return page(part, more=start + len(part) < len(ordered))
