"""Rules of who is told what: the ``[[notify]]`` tables of a jcard."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class NoticeFormat(StrEnum):
    """What the body of a webhook is."""

    JSON = "json"
    """The whole notice."""
    SLACK = "slack"
    """A JSON object whose ``text`` is the notice as a sentence: incoming webhooks of Slack, Mattermost and others."""
    TEXT = "text"
    """The sentence alone: ntfy."""


@dataclass(frozen=True, slots=True)
class NotifyRule:
    """What happens when something happens."""

    on: frozenset[str]
    """Kinds of events, and activities."""
    agents: tuple[str, ...] | None = None
    """Patterns of names, as of a shell; ``None`` is every agent, and the daemon itself."""
    command: tuple[str, ...] = ()
    """Run with the notice on its standard input; empty if `url` is given."""
    url: str | None = field(default=None, repr=False)
    """Where the notice is posted: it may hold a token."""
    format: NoticeFormat = NoticeFormat.JSON
    secret: str | None = None
    """Name of the secret that posts are signed with."""
    per_minute: int = 30
    """Notices at most; what is beyond is counted, and the next one says so."""
    whom: tuple[str, ...] | None = None
    """Told alone of approvals that a rule puts to one of these names; ``None`` is told of whatever `on` says."""
