"""Check the fields about an agent's git repository."""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from agentd.jcard.declarations import Declaration, Identity
from agentd.jcard.findings import Findings
from agentd.jcard.table import CHECKOUT_FIELDS
from agentd.model.spec import Isolation
from agentd.text.quoting import quote

DEFAULT_BRANCH: Final = "agentd/{name}"


def branch_name(written: str | None, identity: Identity) -> str:
    """Give the branch of one replica."""
    return DEFAULT_BRANCH.format(name=identity.name) if written is None else written + identity.suffix


def workdir_in(root: Path, workdir: str | None) -> Path:
    """Give the workdir of an agent in its repository or checkout `root`."""
    return root if workdir is None else Path(os.path.normpath(root / workdir))


def check_checkout(declaration: Declaration, findings: Findings) -> None:
    """Check the fields about the repository of one agent."""
    raw = declaration.raw
    isolation = declaration.written("isolation") or Isolation.NONE.value
    if isolation == Isolation.NONE and raw.get("isolation", isolation) != isolation:
        return  # Faulty, and reported as that.

    def error(field: str, message: str) -> None:
        declaration.error(findings, message, field)

    if isolation != Isolation.NONE and "repo" not in raw:
        error("isolation", f"found {quote(str(isolation))} without repo; name the git repository in repo")
    if isolation == Isolation.NONE:
        for field in CHECKOUT_FIELDS:
            if declaration.written(field) is not None:
                error(field, f'has an effect only with repo and isolation = "{Isolation.WORKTREE}"')
    if isolation == Isolation.READ_ONLY and declaration.written("branch") is not None:
        error("branch", f'has no effect with isolation = "{Isolation.READ_ONLY}", which has no branch; remove it')
    if isolation != Isolation.NONE and "role" in raw:
        error("role", "a workspace is no checkout; remove role, or isolation")
    workdir = declaration.written("workdir")
    if isinstance(workdir, str) and declaration.written("repo") is not None:
        _check_inside(declaration, workdir, findings)


def _check_inside(declaration: Declaration, workdir: str, findings: Findings) -> None:
    normal = os.path.normpath(workdir)
    if workdir.startswith(("/", "~")) or normal == ".." or normal.startswith("../"):
        message = (
            f"found {quote(workdir)}, which is not inside the repository; with repo, expected a relative path in it"
        )
        declaration.error(findings, message, "workdir")


def check_branches(declarations: Sequence[Declaration], findings: Findings) -> None:
    """Check that no two agents have the same branch of a repository: git allows a branch in one worktree only."""
    owners: dict[tuple[str, str], str] = {}
    for declaration in declarations:
        repo = declaration.written("repo")
        if not isinstance(repo, str) or declaration.written("isolation") != Isolation.WORKTREE:
            continue
        written = declaration.written("branch")
        for identity in declaration.identities():
            branch = branch_name(written if isinstance(written, str) else None, identity)
            owner = owners.setdefault((os.path.normpath(repo), branch), identity.name)
            if owner != identity.name:
                declaration.error(
                    findings,
                    f"found {quote(branch)}, which is already the branch of agent {quote(owner)} in the same "
                    "repository; each worktree needs its own",
                    "branch" if "branch" in declaration.raw else "name",
                    field="branch",
                )
                break
