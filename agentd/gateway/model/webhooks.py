"""Whether a webhook is who it says it is, and what it brings: functions of values."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from agentd.model.triggers import Webhook
from agentd.text.prompt_variables import cleaned

SIGNATURE: Final = "X-Hub-Signature-256"
EVENT: Final = "X-GitHub-Event"
DELIVERY: Final = "X-GitHub-Delivery"
PING: Final = "ping"
"""The event by which GitHub tries a webhook."""

_NUMBER: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_EVENT: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_NOBODYS: Final = b"no secret is as long as this one, which is nobody's"


class MissingInputError(ValueError):
    """A body lacks what an input is; the text says which."""


def is_signed(secret: str | None, body: bytes, signature: str) -> bool:
    """Say whether a body is signed with a secret, after the same time whatever is wrong; with none, it is not."""
    key = _NOBODYS if secret is None else secret.encode()
    right = "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()
    same = hmac.compare_digest(right.encode(), signature.encode("utf-8", "replace"))
    return same and bool(secret)


def is_number(text: str) -> bool:
    """Say whether this can be the sender's number of a delivery."""
    return _NUMBER.fullmatch(text) is not None


def is_event(text: str) -> bool:
    """Say whether this can be the name of an event."""
    return _EVENT.fullmatch(text) is not None


def counts(webhook: Webhook, event: str) -> bool:
    """Say whether an event starts anybody."""
    return event in webhook.events if webhook.events else event != PING


def values_of(webhook: Webhook, body: JsonValue, event: str, number: str) -> Mapping[str, str]:
    """Give the values of a trigger's variables.

    Raises
    ------
    MissingInputError
        If the body has nothing where one should be.
    """
    return {
        **{name: cleaned(_text(_at(body, place, name))) for name, place in webhook.inputs},
        "event": event,
        "delivery": number,
    }


def _at(body: JsonValue, place: str, name: str) -> JsonValue:
    found = body
    for step in place.split("."):
        match found:
            case dict() if step in found:
                found = found[step]
            case list() if step.isdecimal() and int(step) < len(found):
                found = found[int(step)]
            case _:
                raise MissingInputError(f"the body has no {place}, which is the input {name}")
    return found


def _text(value: JsonValue) -> str:
    match value:
        case str():
            return value
        case None:
            return ""
        case _:
            return json.dumps(value, ensure_ascii=False)
