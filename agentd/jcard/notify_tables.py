"""The ``[[notify]]`` tables of a jcard: who is told what."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from agentd.jcard.checks import check_command, check_variable
from agentd.jcard.explain import Fault, field_name
from agentd.jcard.findings import Findings
from agentd.jcard.near import did_you_mean
from agentd.jcard.positions import Path
from agentd.jcard.rule_tables import read_fields, refuse, tables_of
from agentd.model.events import EventKind
from agentd.model.notification import NoticeFormat, NotifyRule
from agentd.model.states import Activity
from agentd.text.quoting import quote, show

TABLE: Final = "notify"

OCCASIONS: Final = tuple(dict.fromkeys((*map(str, Activity), *map(str, EventKind))))
"""What ``on`` may name: activities, and kinds of events."""

_MOST_PER_MINUTE: Final = 600


def _check_occasion(name: str) -> str:
    if name not in OCCASIONS:
        close = get_close_matches(name.casefold(), OCCASIONS, n=1)
        raise ValueError(
            f"found {show(name)}, expected an activity ({', '.join(Activity)}) or a kind of event (see agentctl help "
            f"events){did_you_mean(close[0] if close else None)}"
        )
    return name


def _check_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not text.isascii() or not text.isprintable() or " " in text:
        # It may hold a token, so it is not shown.
        raise ValueError('expected a URL such as "https://hooks.example.com/agents"')
    return text


def _check_pattern(text: str) -> str:
    if not text:
        raise ValueError('expected a name or a pattern such as "review*", found an empty string')
    return text


class NotifyTable(BaseModel):
    """One ``[[notify]]`` table."""

    model_config = ConfigDict(
        strict=True, extra="ignore", frozen=True, json_schema_extra={"additionalProperties": False}
    )

    on: Annotated[
        list[Annotated[str, AfterValidator(_check_occasion), WithJsonSchema({"enum": list(OCCASIONS)})]],
        Field(
            description="What is told: activities of an agent, and kinds of events (docs/reference/events.md).",
            min_length=1,
        ),
    ]
    agents: list[Annotated[str, AfterValidator(_check_pattern)]] | None = Field(
        None,
        description="Whose: names, or patterns with * and ?. Default: every agent, and agentd itself.",
    )
    whom: Annotated[list[Annotated[str, AfterValidator(_check_pattern)]], Field(min_length=1)] | None = Field(
        None,
        description="Names for [[approve]]: of approval_asked, only what a rule asks one of these is told.",
    )
    command: Annotated[list[str], AfterValidator(check_command)] = Field(
        [],
        description="A command line that is run as the agents' user, with the notice as JSON on its standard input; "
        "{text} in it is replaced by the notice as a sentence.",
    )
    url: Annotated[str, AfterValidator(_check_url)] | None = Field(
        None, description="Where the notice is posted, instead of a command."
    )
    format: Annotated[NoticeFormat, Field(strict=False), WithJsonSchema({"enum": [*NoticeFormat]})] = Field(
        NoticeFormat.JSON,
        description="What is posted: the whole notice as json, a sentence as slack takes it, or as plain text.",
    )
    secret: Annotated[str, AfterValidator(check_variable)] | None = Field(
        None, description="Name of the secret that posts are signed with, as Standard Webhooks say."
    )
    per_minute: int = Field(
        30, ge=1, le=_MOST_PER_MINUTE, description="Notices a minute at most; the next one says how many were left out."
    )


def read_rules(document: Mapping[str, object], findings: Findings) -> tuple[NotifyRule, ...]:
    """Read the rules of a file; with an error in one, the findings have it."""
    read = (_read_rule(path, table, findings) for path, table in tables_of(TABLE, document, findings))
    return tuple(rule for rule in read if rule is not None)


def _read_rule(path: Path, raw: Mapping[str, object], findings: Findings) -> NotifyRule | None:
    def error(fault: Fault) -> None:
        refuse(path, fault, findings)

    for key in raw:
        if key not in NotifyTable.model_fields:
            close = get_close_matches(key.casefold(), NotifyTable.model_fields, n=1)
            text = f"unknown key, ignored{did_you_mean(close[0] if close else None)}"
            findings.warning((*path, key), text, field=field_name((*path, key)))
    if "on" not in raw:
        error(Fault((), 'on is missing: name activities or kinds of events, such as ["waiting_permission", "failed"]'))
        return None
    table = read_fields(path, NotifyTable, raw, findings)
    if table is None:
        return None
    contradiction = _contradiction(table)
    if contradiction is not None:
        error(contradiction)
        return None
    agents = None if table.agents is None else tuple(table.agents)
    return NotifyRule(
        on=frozenset(table.on),
        agents=agents,
        command=tuple(table.command),
        url=table.url,
        format=table.format,
        secret=table.secret,
        whom=None if table.whom is None else tuple(table.whom),
        per_minute=table.per_minute,
    )


def _contradiction(table: NotifyTable) -> Fault | None:
    if table.command and table.url is not None:
        return Fault(("url",), "a rule has either command or url; write two rules")
    if not table.command and table.url is None:
        return Fault((), "expected command or url: what is to be told whom is not said")
    if table.secret is not None and table.url is None:
        return Fault(("secret",), f"signs what is posted to a url; this rule runs {quote(table.command[0])}")
    return None
