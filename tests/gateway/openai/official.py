"""OpenAI's own client, with everything that it is answered held against its own models, strictly."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import httpx2
from openai import AsyncOpenAI, OpenAI
from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.conversations import (
    Conversation,
    ConversationDeletedResource,
    ConversationItem,
    ConversationItemList,
)
from openai.types.responses import Response, ResponseItemList, ResponseStreamEvent

from tests.gateway.openai.strict import check

_SHAPES: list[tuple[str, str, object]] = [
    ("GET", r"/models/[^/]+", Model),
    ("POST", r"/responses", Response),
    ("GET", r"/responses/[^/]+", Response),
    ("POST", r"/responses/[^/]+/cancel", Response),
    ("GET", r"/responses/[^/]+/input_items", ResponseItemList),
    ("POST", r"/conversations", Conversation),
    ("GET|POST", r"/conversations/[^/]+", Conversation),
    ("DELETE", r"/conversations/[^/]+", ConversationDeletedResource),
    ("GET|POST", r"/conversations/[^/]+/items", ConversationItemList),
    ("GET", r"/conversations/[^/]+/items/[^/]+", ConversationItem),
    ("DELETE", r"/conversations/[^/]+/items/[^/]+", Conversation),
    ("POST", r"/chat/completions", ChatCompletion),
]
_STREAMED = {Response: ResponseStreamEvent, ChatCompletion: ChatCompletionChunk}
_DONE = "[DONE]"


@dataclass
class Exchange:
    """A request, and what was answered as far as it was read."""

    method: str
    path: str
    status: int
    media_type: str
    body: bytearray = field(default_factory=bytearray)

    @property
    def events(self) -> list[dict[str, object]]:
        """The events of a stream that came whole."""
        whole = self.body.decode().split("\n\n")[:-1]
        data = [line.removeprefix("data: ") for event in whole for line in event.split("\n") if line[:5] == "data:"]
        return [json.loads(each) for each in data if each != _DONE]

    def check(self) -> None:
        """Hold it against the client's models."""
        if self.status >= 400:
            error = json.loads(self.body)["error"]
            assert error.keys() == {"message", "type", "param", "code"}, error
            return
        if self.path == "/models":
            for each in json.loads(self.body)["data"]:
                check(Model, each)
            return
        if self.method == "DELETE" and self.path.startswith("/responses/"):
            assert json.loads(self.body)["deleted"] is True
            return
        shape = next(
            shape
            for methods, path, shape in _SHAPES
            if self.method in methods.split("|") and re.fullmatch(path, self.path)
        )
        if self.media_type.startswith("text/event-stream"):
            self._check_events(_STREAMED[shape])  # type: ignore[index] # one of the two that are streamed
        else:
            check(shape, json.loads(self.body))

    def _check_events(self, shape: object) -> None:
        for event in self.events:
            if shape is ChatCompletionChunk and "error" in event:
                continue
            check(shape, event)
            assert "error" not in event, "the client raises on it"
        # A gateway that stops says so beside the response's own events.
        own = [event for event in self.events if "sequence_number" in event and event["type"] != "error"]
        if numbers := [event["sequence_number"] for event in own]:
            first = numbers[0]
            assert isinstance(first, int)
            assert numbers == list(range(first, first + len(numbers)))


@dataclass
class Traffic:
    """All exchanges of a test."""

    exchanges: list[Exchange] = field(default_factory=list)

    def begin(self, request: httpx2.Request, response: httpx2.Response) -> Exchange:
        """Note the beginning of an answer."""
        path = re.sub(r"^/v1", "", request.url.path)
        new = Exchange(request.method, path, response.status_code, response.headers.get("content-type", ""))
        self.exchanges.append(new)
        return new

    def check(self) -> None:
        """Hold all of it against the client's models."""
        assert self.exchanges, "nothing was asked"
        for exchange in self.exchanges:
            exchange.check()


class _Copied(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream, exchange: Exchange) -> None:
        self._stream, self._exchange = stream, exchange

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            self._exchange.body += chunk
            yield chunk

    def close(self) -> None:
        self._stream.close()


class _AsyncCopied(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, exchange: Exchange) -> None:
        self._stream, self._exchange = stream, exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            self._exchange.body += chunk
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Transport(httpx2.HTTPTransport):
    def __init__(self, traffic: Traffic) -> None:
        super().__init__(trust_env=False)
        self._traffic = traffic

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = super().handle_request(request)
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = _Copied(response.stream, self._traffic.begin(request, response))
        return response


class _AsyncTransport(httpx2.AsyncHTTPTransport):
    def __init__(self, traffic: Traffic) -> None:
        super().__init__(trust_env=False)
        self._traffic = traffic

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _AsyncCopied(response.stream, self._traffic.begin(request, response))
        return response


def official(
    url: str, traffic: Traffic, *, retries: int = 0, timeout: float = 30.0, token: str | None = None
) -> OpenAI:
    """Make the client."""
    http_client = httpx2.Client(transport=_Transport(traffic), trust_env=False)
    return OpenAI(
        base_url=f"{url}/v1", api_key=token or "none", max_retries=retries, timeout=timeout, http_client=http_client
    )


def official_async(url: str, traffic: Traffic) -> AsyncOpenAI:
    """Make the client for asyncio."""
    http_client = httpx2.AsyncClient(transport=_AsyncTransport(traffic), trust_env=False)
    return AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=30.0, http_client=http_client)
