"""What is likely the matter with a run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agentd.gateway.model.objects import Run
from agentd.gateway.model.outcome import HARNESS_FAILED, NOT_READY, WORKER_LOST
from agentd.gateway.model.states import RunStatus


class Issue(StrEnum):
    """What it may be."""

    NONE = "none"
    NO_WORKERS = "no_workers"
    WAITING_FOR_WORKER = "waiting_for_worker"
    WAITING_FOR_SESSION = "waiting_for_session"
    HARNESS_MISSING = "harness_missing"
    AUTH_ERROR = "auth_error"
    USAGE_LIMIT = "usage_limit"
    PROVIDER_UNREACHABLE = "provider_unreachable"
    NO_OUTPUT = "no_output"
    WORKER_LOST = "worker_lost"
    AWAITING_INPUT = "awaiting_input"
    AWAITING_PARENT = "awaiting_parent"
    TIMEOUT = "timeout"
    CANCELED = "canceled"
    HARNESS_FAILED = "harness_failed"


QUIET: Final = 120.0
"""Seconds without an event after which an agent at work counts as silent."""

_MISSING: Final = re.compile(
    r"cannot find the program|the program .* (?:does not exist|is not executable)"
    r"|no such (?:file|program|command)|command not found",
    re.IGNORECASE,
)

_UNREACHABLE: Final = re.compile(
    r"connection (?:error|refused|reset|timed out)|econn|enotfound|eai_again|getaddrinfo|fetch failed|network error"
    r"|could not connect|stream disconnected|error sending request|name resolution|unreachable",
    re.IGNORECASE,
)


def program_missing(error: str | None) -> bool:
    """Whether an agent does not start because its program is not there, by what agentd says of it."""
    return error is not None and _MISSING.search(error) is not None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known beside the run itself."""

    agentd_reachable: bool
    session_busy: bool
    """Whether another run of the same conversation is at work."""
    workers_free: bool
    agent_state: str | None
    """agentd's; ``None`` if it knows no such agent."""
    agent_error: str | None
    activity: str | None
    seconds_since_event: float | None


def likely_issue(run: Run, facts: Facts) -> Issue:
    """Say what is likely the matter."""
    match run.status:
        case RunStatus.QUEUED:
            return _queued(facts)
        case RunStatus.RUNNING:
            return _running(facts)
        case RunStatus.FAILED:
            return _failed(run)
        case RunStatus.TIMED_OUT:
            return Issue.TIMEOUT
        case RunStatus.SUCCEEDED:
            return Issue.NONE
        case RunStatus.AWAITING_INPUT | RunStatus.AWAITING_PARENT | RunStatus.CANCELED:
            return Issue(run.status.value)


def _queued(facts: Facts) -> Issue:
    if not facts.agentd_reachable:
        return Issue.NO_WORKERS
    if facts.session_busy:
        return Issue.WAITING_FOR_SESSION
    return Issue.NONE if facts.workers_free else Issue.WAITING_FOR_WORKER


def _running(facts: Facts) -> Issue:
    if not facts.agentd_reachable:
        return Issue.NO_WORKERS
    if facts.activity in (Issue.AUTH_ERROR, Issue.USAGE_LIMIT):
        return Issue(facts.activity)
    if facts.agent_state in ("backoff", "failed", "exited", "timed_out", "disabled"):
        return Issue.HARNESS_MISSING if program_missing(facts.agent_error) else Issue.WORKER_LOST
    quiet = facts.seconds_since_event is not None and facts.seconds_since_event > QUIET
    return Issue.NO_OUTPUT if quiet else Issue.NONE


def _failed(run: Run) -> Issue:
    code, message = ("", "") if run.error is None else (run.error.code, run.error.message)
    if code in (Issue.AUTH_ERROR, Issue.USAGE_LIMIT):
        return Issue(code)
    if code == WORKER_LOST:
        return Issue.WORKER_LOST
    if code == NOT_READY:
        return Issue.HARNESS_MISSING if program_missing(message) else Issue.WORKER_LOST
    if code == HARNESS_FAILED and _UNREACHABLE.search(message):
        return Issue.PROVIDER_UNREACHABLE
    return Issue.HARNESS_FAILED


_SECRET: Final = re.compile(r"(key|token|secret|password|passwd|credential|auth)", re.IGNORECASE)

_IS: Final = r"""(?:\\{0,8}["'])?\s{0,8}[:=]\s{0,8}"""
"""What stands between a name and its value, in JSON inside of JSON, too."""
_QUOTED: Final = r"""\\{1,8}["'][^"'\\]*|"(?:[^"\\]|\\.)*"?|'[^']*'?"""
"""A value in quotation marks, of which a cut line may have one alone."""

_WITHIN: Final = (
    (re.compile(r"(\b(?:bearer|basic)\s+)[^\s\"',}]+", re.IGNORECASE), r"\1***"),
    # Whatever the scheme is, and however many cookies there are.
    (re.compile(rf"""((?:authorization|cookie){_IS})(?:{_QUOTED}|[^"'\n]+)""", re.IGNORECASE), r"\1***"),
    (re.compile(r"(://[^\s:/@]*:)[^\s/@]+@"), r"\1***@"),
    (re.compile(r"(https?://)[^\s:/@\"']+@", re.IGNORECASE), r"\1***@"),
    (
        re.compile(
            # Bounded: a prompt may stand there, too.
            rf"""({_SECRET.pattern}[\w.-]{{0,64}}{_IS})(?!["']?(?:bearer|basic)\s)(?:{_QUOTED}|[^\s"',}}]+)""",
            re.IGNORECASE,
        ),
        r"\1***",
    ),
)
"""What may be a secret inside of a word: headers, passwords of URLs, and entries of TOML and JSON."""


def without_secrets(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out of a command line what may be a secret: what is named like one, and what headers and URLs carry."""
    shown: list[str] = []
    hidden = False
    for word in argv:
        name, equals, _ = word.partition("=")
        if hidden and not word.startswith("-"):
            shown.append("***")
        elif equals and _SECRET.search(name):
            shown.append(f"{name}=***")
        else:
            shown.append(_within(word))
        hidden = word.startswith("-") and not equals and bool(_SECRET.search(name))
    return tuple(shown)


def _within(word: str) -> str:
    for pattern, shown in _WITHIN:
        word = pattern.sub(shown, word)
    return word
