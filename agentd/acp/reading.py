"""From what an agent says in the Agent Client Protocol to what is made of it. Pure.

What is missing or of another type is as if it were empty: agents differ in what they send.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agentd.text.quoting import quote
from agentd.turns.events import Failure, Outcome, Usage
from agentd.turns.fields import mapping, number, objects, text

AUTH_REQUIRED: Final = -32000
"""The protocol's code; gemini and codex also give HTTP's."""

_LIMIT_CODES: Final = (429,)
_AUTH_CODES: Final = (AUTH_REQUIRED, 401, 403)
_LIMIT = re.compile(r"\b429\b|rate.?limit|quota|usage.?limit|too many requests", re.IGNORECASE)
_AUTH = re.compile(r"\b40[13]\b|unauthori[sz]ed|authenticat|api key", re.IGNORECASE)


class Kind(StrEnum):
    """What an option of a permission request does."""

    ALLOW_ONCE = "allow_once"
    ALLOW_ALWAYS = "allow_always"
    REJECT_ONCE = "reject_once"
    REJECT_ALWAYS = "reject_always"


@dataclass(frozen=True, slots=True)
class Option:
    """One of the answers that a permission request offers."""

    id: str
    name: str
    kind: str
    """A `Kind`, or one of a later protocol."""

    @property
    def allows(self) -> bool:
        """Whether it lets the agent do it."""
        return self.kind in (Kind.ALLOW_ONCE, Kind.ALLOW_ALWAYS)

    @property
    def refuses(self) -> bool:
        """Whether it does not."""
        return self.kind in (Kind.REJECT_ONCE, Kind.REJECT_ALWAYS)


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool call, as far as it was told."""

    id: str
    title: str = ""
    kind: str = ""
    status: str = ""
    known_input: bool = False

    @property
    def over(self) -> bool:
        """Whether it has run."""
        return self.status in ("completed", "failed")


def options_of(params: Mapping[str, object]) -> tuple[Option, ...]:
    """Give the options of a permission request, those without an id left out."""
    found = (
        Option(text(each, "optionId"), text(each, "name"), text(each, "kind")) for each in objects(params, "options")
    )
    return tuple(option for option in found if option.id)


def tool_of(update: Mapping[str, object], before: Tool | None = None) -> Tool:
    """Give a tool call after an update of it."""
    known = before or Tool(text(update, "toolCallId"))
    given = mapping(update, "rawInput")
    return Tool(
        known.id,
        text(update, "title") or known.title,
        text(update, "kind") or known.kind,
        text(update, "status") or known.status,
        known_input=known.known_input or bool(given),
    )


def choose(options: Sequence[Option], decision: str, words: str) -> Option | None:
    """Choose what somebody decided elsewhere; ``None`` if nothing that is offered means that.

    ``allow`` is never taken for always.

    Parameters
    ----------
    decision
        ``allow``, ``deny``, or ``answer``: then `words` is the id or the name of an option.
    """
    match decision:
        case "allow":
            wanted = [option for option in options if option.kind == Kind.ALLOW_ONCE]
        case "deny":
            wanted = [option for option in options if option.kind == Kind.REJECT_ONCE]
            wanted += [option for option in options if option.kind == Kind.REJECT_ALWAYS]
        case "answer":
            wanted = [option for option in options if words.strip() in (option.id, option.name)]
        case _:
            wanted = []
    return wanted[0] if wanted else None


def failure_of(code: int, message: str, data: Mapping[str, object]) -> Failure:
    """Say why a turn failed.

    Parameters
    ----------
    code, message, data
        Of the JSON-RPC error.
    """
    kind = f"{text(data, 'errorKind')} {text(data, 'codexErrorInfo')} {text(data, 'message')}"
    if code in _LIMIT_CODES or _LIMIT.search(kind):
        return Failure.USAGE_LIMIT
    if code in _AUTH_CODES:
        return Failure.AUTH_ERROR
    if _LIMIT.search(message):
        return Failure.USAGE_LIMIT
    return Failure.AUTH_ERROR if _AUTH.search(message) or _AUTH.search(kind) else Failure.OTHER


def explain(message: str, data: Mapping[str, object]) -> str:
    """Give the words of an error: some agents put them into its data."""
    more = text(data, "message") or text(data, "details")
    return f"{message}: {more}" if more and more not in message else message


def outcome_of(reason: str) -> tuple[Outcome, str | None]:
    """Say how a turn ended, by its stop reason, and what went wrong."""
    match reason:
        case "end_turn":
            return Outcome.COMPLETED, None
        case "cancelled":
            return Outcome.INTERRUPTED, None
        case "max_tokens":
            return Outcome.FAILED, "the answer reached the model's limit of tokens"
        case "max_turn_requests":
            return Outcome.FAILED, "the turn reached the agent's limit of requests to its model"
        case "refusal":
            return Outcome.FAILED, "the agent refuses to go on"
        case _:
            return Outcome.FAILED, f"expected a stop reason of the protocol, found {quote(reason)}"


def usage_of(result: Mapping[str, object], cost: float | None) -> Usage | None:
    """Give what a turn used; ``None`` if the agent did not tell.

    Parameters
    ----------
    cost
        In US dollars, as far as it is known.
    """
    told = mapping(result, "usage")
    if told:
        return Usage(
            number(told, "inputTokens"),
            number(told, "outputTokens"),
            number(told, "cachedReadTokens"),
            number(told, "cachedWriteTokens"),
            cost,
        )
    # Gemini CLI's own.
    count = mapping(mapping(mapping(result, "_meta"), "quota"), "token_count")
    if "input_tokens" in count or "output_tokens" in count:
        return Usage(number(count, "input_tokens"), number(count, "output_tokens"), cost_usd=cost)
    return None if cost is None else Usage(cost_usd=cost)


def cost_of(update: Mapping[str, object]) -> float | None:
    """Give what a session has cost so far, in US dollars; ``None`` if the agent does not say."""
    cost = mapping(update, "cost")
    amount = cost.get("amount")
    if cost.get("currency") != "USD" or not isinstance(amount, int | float) or isinstance(amount, bool):
        return None
    return float(amount) if amount >= 0 else None
