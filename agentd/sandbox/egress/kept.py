"""What of a run's way out must outlive agentd and the proxy: its placeholders, and its certificate's key."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from agentd.files.regular import read_regular
from agentd.model.spec import SandboxSpec
from agentd.sandbox.egress.placeholders import Substitution
from agentd.sandbox.egress.reach import Reach

_SUFFIX: Final = ".json"
_LARGEST: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Kept:
    """What a run has as long as it lasts."""

    placeholders: Mapping[str, str] = field(default_factory=dict, repr=False)
    """By the name of the secret."""
    identity: str | None = field(default=None, repr=False)
    """Key and certificate, in PEM."""

    def reach(self, agent: str, spec: SandboxSpec, values: Mapping[str, str]) -> Reach:
        """Work out what the run reaches now, with the secrets' present values."""
        substitutions = tuple(
            Substitution(self.placeholders[secret.name], values[secret.name], secret.to)
            for secret in spec.egress_secrets
            if secret.name in values and secret.name in self.placeholders
        )
        return Reach(agent, spec.reach, substitutions, self.identity)


class KeptFiles:
    """One file a run, in a folder of agentd's own. Every method blocks.

    Parameters
    ----------
    folder
        Made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, run_id: str, kept: Kept) -> None:
        """Write it.

        Raises
        ------
        OSError
            If that is not possible.
        """
        self._folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(self._path(run_id), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w") as file:  # noqa: PTH123 (a descriptor)
            json.dump(asdict(kept), file)

    def read(self, run_id: str) -> Kept | None:
        """Read it; ``None`` if the run has none, or it is damaged."""
        try:
            found = json.loads(read_regular(self._path(run_id), _LARGEST))
            return Kept(**found)
        except (OSError, ValueError, TypeError):
            return None

    def remove(self, run_ids: Iterable[str]) -> None:
        """Remove what these runs had."""
        for run_id in run_ids:
            with contextlib.suppress(OSError):
                self._path(run_id).unlink()

    def run_ids(self) -> set[str]:
        """The runs that have something here."""
        with contextlib.suppress(OSError):
            return {path.stem for path in self._folder.iterdir() if path.suffix == _SUFFIX}
        return set()

    def _path(self, run_id: str) -> Path:
        return self._folder / (run_id + _SUFFIX)
