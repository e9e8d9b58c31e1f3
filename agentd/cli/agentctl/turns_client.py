"""The client of the socket where those who talk to agents ask for their turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentd.cli.agentctl.client import NOT_FOUND, Api, ApiError, Json, Stream
from agentd.cli.agentctl.command import Invocation
from agentd.settings.sockets import turns_socket

if TYPE_CHECKING:
    from typing import Self

JsonObject = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class TurnView:
    """A turn, as the daemon shows it."""

    id: str
    prompt: str | None
    text: str
    outcome: str | None
    """``None`` while it is under way."""
    error: str | None
    usage: JsonObject

    @classmethod
    def of(cls, document: Json) -> Self | None:
        """Read one; ``None`` if there is none."""
        if not isinstance(document, Mapping):
            return None
        usage = document.get("usage")
        return cls(
            str(document.get("id") or ""),
            _text(document, "prompt"),
            _text(document, "text") or "",
            _text(document, "outcome"),
            _text(document, "error"),
            usage if isinstance(usage, Mapping) else {},
        )


@dataclass(frozen=True, slots=True)
class ConversationView:
    """What is known of a conversation."""

    agent: str
    activity: str | None
    source: str | None
    """The witness of the activity."""
    watched: bool
    """Whether its program tells of its turns."""
    turn: TurnView | None
    """The one under way."""
    last: TurnView | None
    requests: Sequence[JsonObject]
    """What it waits for somebody to decide."""

    @classmethod
    def of(cls, document: Json) -> Self:
        """Read one.

        Raises
        ------
        ApiError
            If it is none.
        """
        if not isinstance(document, Mapping):
            raise ApiError(200, "expected a conversation: agentd and agentctl are of different versions")
        requests = document.get("requests")
        waiting = requests if isinstance(requests, Sequence) and not isinstance(requests, str) else ()
        return cls(
            str(document.get("agent") or ""),
            _text(document, "activity"),
            _text(document, "activity_source"),
            document.get("conversation") is not None,
            TurnView.of(document.get("turn")),
            TurnView.of(document.get("last")),
            [each for each in waiting if isinstance(each, Mapping)],
        )


@dataclass(frozen=True, slots=True)
class MessageView:
    """A message in an agent's queue, as the daemon shows it."""

    id: str
    status: str
    turn: str | None
    outcome: str | None
    final_text: str
    error: str | None
    usage: JsonObject

    @classmethod
    def of(cls, document: Json) -> Self:
        """Read one.

        Raises
        ------
        ApiError
            If it is none.
        """
        message = document.get("message") if isinstance(document, Mapping) else None
        if not isinstance(message, Mapping):
            raise ApiError(200, "expected a message: agentd and agentctl are of different versions")
        usage = message.get("usage")
        return cls(
            str(message.get("id") or ""),
            str(message.get("status") or ""),
            _text(message, "turn"),
            _text(message, "outcome"),
            _text(message, "final_text") or "",
            _text(message, "error"),
            usage if isinstance(usage, Mapping) else {},
        )


@dataclass(frozen=True, slots=True)
class TurnsClient:
    """Asks for conversations; raises what `Api` does."""

    api: Api

    @classmethod
    def of(cls, invocation: Invocation) -> Self:
        """Ask the daemon of a command line."""
        return cls(Api(turns_socket(invocation.settings.api_socket)))

    def conversation(self, agent: str) -> ConversationView | None:
        """Read the conversation of an agent; ``None`` if it is not running."""
        try:
            return ConversationView.of(self.api.get(_path(agent)))
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    def answer(self, agent: str, decision: str, text: str, request: str | None) -> ConversationView:
        """Answer what the agent asks; without an id the only request."""
        document: Json = {"decision": decision, "text": text, "request": request}
        return ConversationView.of(self.api.post(_path(agent, "/answer"), document))

    def send(self, agent: str, message: str, text: str, expires: float | None = None) -> MessageView:
        """Put a message into the agent's queue, under this id; after `expires` seconds it is not delivered any more."""
        document: Json = {"id": message, "text": text, "expires_s": expires}
        return MessageView.of(self.api.post(_path(agent, "/messages"), document))

    def message(self, agent: str, message: str) -> MessageView:
        """Read what became of a message."""
        return MessageView.of(self.message_document(agent, message))

    def message_document(self, agent: str, message: str) -> Json:
        """Read all that is known of a message."""
        from urllib.parse import quote

        return self.api.get(_path(agent, f"/messages/{quote(message, safe='')}"))

    def messages(self, agent: str | None, most: int, *, undelivered: bool) -> list[JsonObject]:
        """Read the newest messages to an agent, or to all, the newest first, without the rest of long texts."""
        from urllib.parse import urlencode

        query = {
            "limit": str(most),
            **({} if agent is None else {"agent": agent}),
            "undelivered": str(int(undelivered)),
        }
        document = self.api.get(f"/v1/messages?{urlencode(query)}")
        found = document.get("messages") if isinstance(document, Mapping) else None
        if not isinstance(found, Sequence) or isinstance(found, str):
            raise ApiError(200, "expected messages: agentd and agentctl are of different versions")
        return [each for each in found if isinstance(each, Mapping)]

    def explain(self, agent: str, asked: Mapping[str, str]) -> JsonObject:
        """Ask what the rules in force would decide; `asked` has tool, command and path, as far as they are known."""
        found = self.api.post(_path(agent, "/approvals"), dict(asked))
        return found if isinstance(found, Mapping) else {}

    def restore(self, agent: str, harness: str, workdir: str, conversation: str) -> None:
        """Have the agent's next run go on with a conversation."""
        self.api.post(_path(agent, "/conversation"), {"harness": harness, "workdir": workdir, "id": conversation})

    def withdraw(self, agent: str, message: str) -> MessageView:
        """Take a message back that waits."""
        return MessageView.of(self.api.delete(_path(agent, f"/messages/{message}")))

    def follow(self, agent: str, after: int | None) -> Stream:
        """Follow what happens in the agent's turns after that line, one a line; the caller closes the stream."""
        return self.api.stream(_path(agent, "/stream" if after is None else f"/stream?after={after}"))

    def interrupt(self, agent: str) -> bool:
        """Have the agent's program interrupt its turn; says whether there was one, as far as is known."""
        answer = self.api.post(_path(agent, "/interrupt"), {})
        return not isinstance(answer, dict) or answer.get("interrupted") is not False


def _path(agent: str, below: str = "") -> str:
    from urllib.parse import quote

    return f"/v1/turns/{quote(agent, safe='')}{below}"


def _text(document: JsonObject, name: str) -> str | None:
    value = document.get(name)
    return value if isinstance(value, str) else None
