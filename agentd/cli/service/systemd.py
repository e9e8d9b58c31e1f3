"""Use systemd through ``systemctl``."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentd.text.quoting import printable

_BOOTED = frozenset({"initializing", "starting", "running", "degraded", "maintenance", "stopping"})
"""What ``is-system-running`` says where systemd is in charge; elsewhere ``offline``. Source: systemctl(1)."""

_SHOWN = ("LoadState", "ActiveState", "SubState", "UnitFileState", "MainPID", "FragmentPath")


class SystemdError(RuntimeError):
    """systemd does not run here, or refuses a command; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Systemd:
    """The systemd of the system, or of the invoking user."""

    user: bool
    unit: str
    """The unit that is asked about."""
    say: Callable[[str], None]
    """Called with each command before it runs."""

    def command(self, *arguments: str) -> list[str]:
        """Build a command line."""
        return ["systemctl", *(["--user"] if self.user else []), *arguments]

    def available(self) -> bool:
        """Whether it runs here."""
        if shutil.which("systemctl") is None:
            return False
        return self._ask("is-system-running").stdout.strip() in _BOOTED

    def run(self, *arguments: str) -> None:
        """Announce and run a command.

        Raises
        ------
        SystemdError
            If it fails.
        """
        command = self.command(*arguments)
        self.say(" ".join(command))
        done = self._ask(*arguments)
        if done.returncode != 0:
            reason = printable(" ".join(done.stderr.split())) or f"status {done.returncode}"
            more = " ".join(self.command("status", self.unit))
            raise SystemdError(f"{' '.join(command)} failed: {reason}: see {more}")

    def state(self) -> dict[str, str]:
        """Read the unit's state."""
        shown = self._ask("show", self.unit, *(f"--property={name}" for name in _SHOWN)).stdout
        found = dict(line.partition("=")[::2] for line in shown.splitlines())
        return {name: found.get(name, "") for name in _SHOWN}

    def _ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )


def needed(systemd: Systemd, foreground: Sequence[str]) -> None:
    """Require systemd.

    Raises
    ------
    SystemdError
        If it does not run here.
    """
    if not systemd.available():
        whose = "user manager (it needs a session, and XDG_RUNTIME_DIR) " if systemd.user else ""
        raise SystemdError(
            f"no systemd {whose}answers here: run it in the foreground, under another supervisor:"
            f" {shlex.join(foreground)}"
        )
