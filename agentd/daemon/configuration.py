"""What the files said, and what they were understood to declare: frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agentd.jcard.drop_in_folder import FoundFile
from agentd.jcard.problems import LoadResult
from agentd.jcard.secrets import Secrets
from agentd.jcard.unknown import NOTHING_UNKNOWN, UnknownSources
from agentd.model.approvals import ApprovalRule
from agentd.model.capacity import Capacity
from agentd.model.notification import NotifyRule
from agentd.model.pool import NO_POLICIES, PoolDeclaration
from agentd.model.telemetry import Telemetry
from agentd.supervise.desired import DesiredAgent


@dataclass(frozen=True, slots=True)
class Sources:
    """The jcard and its drop-ins at one moment."""

    files: Mapping[Path, FoundFile]
    """In order: the jcard, then the drop-ins by path."""
    unlisted: Mapping[Path, str]
    """Folders of drop-ins that cannot be listed, and why."""
    expired: frozenset[Path]
    """Files whose lease is over."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What all files said at one moment."""

    sources: Sources
    prompts: Mapping[Path, str | None]
    """Text by file; ``None`` where it cannot be read."""
    prompt_errors: Mapping[Path, str]
    secrets: Secrets = field(repr=False)
    repositories: Mapping[Path, str | None] = field(default_factory=dict)
    """The root of the repository that a path is in, ``None`` if in none; only of those that count."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What became of one file."""

    path: Path
    error: str | None
    """Why the file as it is now cannot be used."""
    warnings: tuple[str, ...]
    agents: int
    """How many it declares."""
    digest: str | None
    """Of its content, valid or not; ``None`` where it cannot be read."""
    expired: bool
    """Whether its lease is over."""
    in_force: LoadResult | None = field(repr=False)
    """The content that counts."""

    @property
    def valid(self) -> bool:
        """Whether the file as it is now is in force."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class Configuration:
    """A reading, understood."""

    files: tuple[ConfigFile, ...]
    """The jcard first."""
    warnings: tuple[str, ...]
    """About the files and all that they name."""
    desired: tuple[DesiredAgent, ...] | None
    """``None`` if a defect of agentd kept it from being read: nothing changes."""
    unknown: UnknownSources = NOTHING_UNKNOWN
    skipped_secrets: frozenset[str] = frozenset()
    """Those of the warnings that are about files in the secret directory."""
    secret_names: frozenset[str] = frozenset()
    """Those that there are."""
    notify: tuple[NotifyRule, ...] = ()
    """Who is told what."""
    approvals: tuple[ApprovalRule, ...] = ()
    """What agents may do without anybody being asked, in order."""
    signing: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The secrets that notices are signed with, by name."""
    pool: PoolDeclaration = NO_POLICIES
    """What holds for workers."""
    capacity: Capacity | None = None
    """How many agents run at once; ``None`` is any number."""
    telemetry: Telemetry | None = None
    """What is sent to a collector."""
    telemetry_secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The secrets that are sent to it, by name."""
    defect: str | None = None
    """Why it could not be read."""

    @property
    def error(self) -> str | None:
        """What is wrong, in the first file where anything is."""
        return self.defect or next((file.error for file in self.files if file.error is not None), None)

    @property
    def valid(self) -> bool:
        """Whether all files as they are now are in force."""
        return self.error is None
