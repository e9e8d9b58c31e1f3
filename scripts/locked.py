"""The lock as values: what requirements/*.txt names, with hashes and with what needs it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_PACKAGE = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+?)(?: ; (?P<marker>.*?))?(?: \\)?")
_HASH = re.compile(r"\s+--hash=sha256:(?P<hash>[0-9a-f]{64})(?: \\)?")
_VIA = re.compile(r"\s+#\s+(?:via )?(?P<who>[A-Za-z0-9._-]+)(?: \(pyproject\.toml(?::(?P<group>\w+))?\))?")


@dataclass(frozen=True, slots=True)
class Locked:
    """One package."""

    name: str
    version: str
    marker: str | None
    """Where it is needed, if not everywhere (PEP 508)."""
    hashes: tuple[str, ...]
    needed_by: frozenset[str]
    """Packages; the project itself is "agentd", for its building "agentd:build"."""


def read_lock(path: Path) -> list[Locked]:
    """Read a lock.

    Raises
    ------
    ValueError
        If a line is none that uv writes.
    """
    found: list[Locked] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") or line.strip() in ("", "# via") or line.lstrip().startswith("#   -c "):
            continue
        if match := _PACKAGE.fullmatch(line):
            found.append(Locked(match["name"], match["version"], match["marker"], (), frozenset()))
            continue
        last = found[-1]
        if match := _HASH.fullmatch(line):
            last = Locked(last.name, last.version, last.marker, (*last.hashes, match["hash"]), last.needed_by)
        elif match := _VIA.fullmatch(line):
            who = match["who"] + (f":{match['group']}" if match["group"] else "")
            last = Locked(last.name, last.version, last.marker, last.hashes, last.needed_by | {who})
        else:
            raise ValueError(f"expected a line as uv writes it, found {line!r} in {path}")
        found[-1] = last
    return found
