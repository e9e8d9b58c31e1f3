"""What is told of an event, and by which rules. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from agentd.model.events import Detail, Event
from agentd.model.notification import NoticeFormat, NotifyRule
from agentd.text.quoting import printable
from agentd.text.timestamps import rfc3339

_LONGEST: Final = 500
"""Characters of a sentence."""

_MARK: Final = "whsec_"
"""What a secret that is written in base64 begins with (Standard Webhooks)."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What is told."""

    id: str
    """The same for each attempt to tell it."""
    event: Event
    at: float
    """Seconds since the epoch."""
    host: str
    left_out: int = 0
    """Notices of the same rule that were too many before this one."""

    @property
    def occasion(self) -> str:
        """The activity, or the kind of event."""
        return occasion(self.event)

    @property
    def text(self) -> str:
        """A sentence of one line, without control characters."""
        said = self.event.data.get("text") or self.event.reason
        parts = [self.event.agent or "agentd", self.occasion.replace("_", " "), *([str(said)] if said else [])]
        line = printable(" ".join(": ".join(parts).split()))
        more = f" ({self.left_out} notices before it were left out)" if self.left_out else ""
        return (line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…") + more

    def document(self) -> Mapping[str, object]:
        """The whole notice, for programs."""
        return {
            "id": self.id,
            "type": self.event.kind.value,
            "timestamp": rfc3339(self.at),
            "host": self.host,
            "agent": self.event.agent,
            "occasion": self.occasion,
            "text": self.text,
            "reason": self.event.reason,
            "data": dict(self.event.data),
            "left_out": self.left_out,
        }

    def body(self, form: NoticeFormat) -> tuple[bytes, str]:
        """What is posted, and its content type."""
        match form:
            case NoticeFormat.JSON:
                return json.dumps(self.document()).encode(), "application/json"
            case NoticeFormat.SLACK:
                return json.dumps({"text": self.text}).encode(), "application/json"
            case NoticeFormat.TEXT:
                return self.text.encode(), "text/plain; charset=utf-8"


def occasion(event: Event) -> str:
    """What a rule's ``on`` names: the activity that an agent came to, or the kind of event."""
    activity: Detail = event.data.get("activity") if event.kind == "activity" else None
    return activity if isinstance(activity, str) else event.kind.value


def applies(rule: NotifyRule, event: Event) -> bool:
    """Whether a rule tells of an event."""
    if rule.on.isdisjoint({occasion(event), event.kind.value}):
        return False
    if rule.whom is not None:
        whom = event.data.get("whom")
        if not isinstance(whom, Sequence) or set(rule.whom).isdisjoint(whom):
            return False
    if rule.agents is None:
        return True
    name = event.agent
    return name is not None and any(fnmatchcase(name.casefold(), pattern.casefold()) for pattern in rule.agents)


def signature(secret: str, notice_id: str, at: int, body: bytes) -> str:
    """Sign a post.

    Parameters
    ----------
    secret
        The text is the key, or in base64 after ``whsec_``.
    at
        Seconds since the epoch, of this attempt.

    Returns
    -------
    str
        The value of the header ``webhook-signature``; source: Standard Webhooks 1.0.

    Raises
    ------
    ValueError
        If what follows ``whsec_`` is no base64.
    """
    key = base64.b64decode(secret.removeprefix(_MARK), validate=True) if secret.startswith(_MARK) else secret.encode()
    digest = hmac.new(key, b"%s.%d.%s" % (notice_id.encode(), at, body), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
