"""What the providers' programs wrote last of their quotas. Codex alone keeps it on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from agentd.files.answering import within
from agentd.files.worker import in_thread
from agentd.pool.around import Around
from agentd.supervise.worker_policies import Quota
from agentd.turns.codex.quota import windows
from agentd.turns.fields import mapping

_HARNESS: Final = "codex"
_NEWEST: Final = 3
"""Files that are looked at: the newest may have had no turn yet."""
_TAIL: Final = 256 * 1024
"""Bytes of each."""


@dataclass(frozen=True, slots=True)
class Told:
    """A quota, and who tells of it."""

    quota: Quota
    source: str
    seconds: float | None


async def read_newest(around: Around) -> dict[str, list[Told]]:
    """Give what the newest records say, by provider."""
    found: dict[str, list[Told]] = {}
    for provider in around.providers.values():
        if provider.harness == _HARNESS:
            environment = around.environment_for(provider)
            home = Path(environment.get("CODEX_HOME") or Path(environment.get("HOME") or around.user.home) / ".codex")
            found[provider.id] = await in_thread("pool-refresh", partial(_read, home))
    return found


def _read(home: Path) -> list[Told]:
    sessions = home / "sessions"
    try:
        files = within(sessions, lambda: sorted(sessions.glob("*/*/*/rollout-*.jsonl"))[-_NEWEST:])
    except OSError:
        return []
    for file in reversed(files):
        try:
            told = within(file, partial(_quotas, file))
        except OSError:
            continue
        if told:
            return told
    return []


def _quotas(file: Path) -> list[Told]:
    at = file.stat().st_mtime
    for limits in _limits(file):
        found = windows(limits)
        if found:
            return [
                Told(Quota(each.name, each.used_percent, each.resets_at, at), "codex's newest rollout", each.seconds)
                for each in found
            ]
    return []


def _limits(file: Path) -> Iterator[dict[str, object]]:
    """Give the snapshots of limits at the end of a rollout, the newest first."""
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - _TAIL))
        lines = opened.read(_TAIL).splitlines()
    for line in reversed(lines):
        if b'"rate_limits"' not in line:
            continue
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield dict(mapping(mapping(record, "payload"), "rate_limits"))
