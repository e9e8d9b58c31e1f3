"""What an agent's sandbox lets it do, as the status API and ``agentctl`` show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from agentd.model.json_schema import JsonSchema
from agentd.model.spec import Network, SandboxKind


@dataclass(frozen=True, slots=True)
class SandboxStatus:
    """What a sandboxed agent may read, write and reach.

    It reads the system too, apart from what belongs to agentd, other agents and users: see docs/sandbox.md.
    """

    kind: Annotated[str, JsonSchema({"enum": [*SandboxKind]})] | None
    """What the sandbox is made with; null is what there is, bubblewrap first."""
    network: Annotated[str, JsonSchema({"enum": [*Network]})]
    """What it reaches over the network."""
    network_allow: Sequence[str]
    """What it reaches by name without a network."""
    read_only_paths: Sequence[str]
    """What it may read although other sandboxes do not show it, its workdir among them if that is not to be changed."""
    writable_paths: Sequence[str]
    """What it may write, its workdir first."""
    repository: str | None
    """Repository whose objects, refs and logs it may write, since its worktree is one of that."""
    home: str
    """Folder that its home is kept in from run to run."""
    extra_packages: Sequence[str]
    """Packages that it finds beside its harness."""
    secrets: Sequence[str] | None
    """Names of the secrets that it is given; null is all there are."""
    egress_secrets: Mapping[str, Sequence[str]]
    """Hosts that are sent a secret which it is not given itself, by the name of that."""
