"""Paths that must be, once they are mounted, the very files that were looked at before."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from agentd.text.quoting import shell_quote


@dataclass(frozen=True, slots=True)
class Pinned:
    """What was looked at. Until it is mounted, a path may have been given to another file."""

    found: tuple[tuple[str, str], ...]
    """Paths, with the device and inode of what was there."""
    stat: str
    """Path of stat(1) of the coreutils."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Those that were looked at."""
        return tuple(path for path, _ in self.found)

    def check(self, mounted: Sequence[str]) -> str:
        """Write, for sh, the comparison with what is mounted; it exits where something else is.

        Parameters
        ----------
        mounted
            Where each of the paths is mounted.
        """
        if not self.found:
            return ""
        paths = " ".join(os.fsdecode(shell_quote(path)) for path in mounted)
        expected = "\n".join(identity for _, identity in self.found)
        return _CHECK.format(stat=self.stat, paths=paths, expected=expected)


_CHECK = """if [ "$({stat} -c %d:%i -- {paths} 2>/dev/null)" != '{expected}' ]; then
  echo "what stands at a path of the sandbox was replaced while that was made" >&2
  exit 1
fi
"""
