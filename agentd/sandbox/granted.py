"""What a definition grants a sandboxed agent: what its sandbox is composed of, and what is shown of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentd.model.sandbox import SandboxStatus
from agentd.model.spec import AgentSpec, AgentType

SANDBOXES: Final = "sandboxes"
"""Folder of the sandboxed agents' homes, in the data directory."""


@dataclass(frozen=True, slots=True)
class Granted:
    """The paths that an agent may use beside the system; not resolved yet."""

    root: Path
    """Its workdir, or the worktree that this is in."""
    root_read_only: bool
    readable: tuple[Path, ...]
    writable: tuple[Path, ...]

    @property
    def places(self) -> tuple[Path, ...]:
        """Where it decides what a name leads to."""
        return self.writable if self.root_read_only else (self.root, *self.writable)

    @classmethod
    def of(cls, spec: AgentSpec) -> Granted:
        """Take them from a definition."""
        checkout, wish = spec.checkout, spec.sandbox
        return cls(
            spec.workdir if checkout is None else checkout.path,
            checkout is not None and checkout.read_only,
            tuple(map(Path, wish.read_only_paths)),
            tuple(map(Path, wish.writable_paths)),
        )


def sandboxed_places(specs: Iterable[AgentSpec]) -> tuple[Path, ...]:
    """Where sandboxed agents decide what a name leads to."""
    boxed = [spec for spec in specs if spec.type is AgentType.SANDBOXED]
    return tuple(dict.fromkeys(place for spec in boxed for place in Granted.of(spec).places))


def home_of(agent: str, data_dir: Path) -> Path:
    """Give the folder in which an agent's home is kept between its runs."""
    return data_dir / SANDBOXES / agent


def shown(spec: AgentSpec, data_dir: Path, secrets: Iterable[str] | None) -> SandboxStatus | None:
    """Say what an agent's sandbox lets it do; ``None`` if it has none.

    Parameters
    ----------
    secrets
        Names of those that it is given; ``None`` if that is not known beyond its definition.
    """
    if spec.type is not AgentType.SANDBOXED:
        return None
    granted, wish = Granted.of(spec), spec.sandbox
    root = (granted.root,)
    names = spec.secrets if secrets is None else sorted(secrets)
    return SandboxStatus(
        kind=None if wish.kind is None else wish.kind.value,
        network=wish.network.value,
        network_allow=[*map(str, wish.network_allow)],
        read_only_paths=[*map(str, (*(root if granted.root_read_only else ()), *granted.readable))],
        writable_paths=[*map(str, (*(() if granted.root_read_only else root), *granted.writable))],
        repository=None if spec.checkout is None or granted.root_read_only else str(spec.checkout.repo),
        home=str(home_of(spec.name, data_dir)),
        extra_packages=[*wish.extra_packages],
        secrets=None if names is None else [*names],
        egress_secrets={secret.name: [*map(str, secret.to)] for secret in wish.egress_secrets},
    )
