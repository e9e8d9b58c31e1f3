"""One result of ``agentctl doctor``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from agentd.files.answering import NotAnsweringError, within


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; needs no action."""
    WARNING = "warning"
    """Something in use will not work well, or not for long."""
    ERROR = "error"
    """Something in use does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was checked, what was found, and what to do."""

    level: Level
    topic: str
    """One word that groups related findings."""
    text: str
    advice: str | None = None
    """What to do; warnings and errors always have it."""

    def __post_init__(self) -> None:
        """Require advice for warnings and errors."""
        assert self.advice is not None or self.level in (Level.OK, Level.NOTE), self


def ok(topic: str, text: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, topic, text)


def note(topic: str, text: str, advice: str | None = None) -> Finding:
    """Something worth knowing."""
    return Finding(Level.NOTE, topic, text, advice)


def warning(topic: str, text: str, advice: str) -> Finding:
    """Something that will not work well."""
    return Finding(Level.WARNING, topic, text, advice)


def error(topic: str, text: str, advice: str) -> Finding:
    """Something that does not work."""
    return Finding(Level.ERROR, topic, text, advice)


def answered(topic: str, path: Path, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Run checks of a path, or report that it does not answer."""
    try:
        yield from within(path, lambda: list(look()))
    except NotAnsweringError as failure:
        yield unanswered(topic, failure)


def unanswered(topic: str, failure: NotAnsweringError) -> Finding:
    """Report a path that does not answer."""
    return error(topic, str(failure.strerror), "mount it again, or unmount it")


def read_line(path: str) -> str | None:
    """Read the first line of a kernel file; ``None`` where it does not exist, as on another system."""
    try:
        return Path(path).read_text().partition("\n")[0]
    except OSError:
        return None
