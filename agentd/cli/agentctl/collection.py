"""Writing what an agent did into a folder.

Everything of the worktree is read by git as the agents' user and taken from git's own objects: nothing that the agent
puts into its worktree meanwhile, links above all, makes the one who collects read another file.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from agentd.cli.agentctl.client import ApiError, UnreachableError
from agentd.cli.agentctl.command import CommandError, Invocation
from agentd.cli.agentctl.lookup import agent_document
from agentd.cli.agentctl.terminals import open_terminal
from agentd.cli.agentctl.worktree_look import Surroundings, look_around
from agentd.daemon.settings import absolute
from agentd.jcard.quoting import printable
from agentd.workspaces.changes import EXECUTABLE, LINK, Changes, look_at_changes
from agentd.workspaces.git import CHECKOUT_LIMIT, GitError
from agentd.workspaces.held import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PATCH = "changes.patch"
BUNDLE = "commits.bundle"
FILES = "files"
TRANSCRIPT = "transcript.txt"
MANIFEST = "manifest.json"

_VERSION = 1


def collect(invocation: Invocation, output: str | None, lines: int) -> tuple[Mapping[str, object], Path]:
    """Collect from the agent that the command line names.

    Returns
    -------
    The manifest, and the folder.

    Raises
    ------
    CommandError
        If there is no such agent and no worktree of it, or something cannot be read or written.
    """
    surroundings = look_around(invocation)
    place = _place(invocation, surroundings)
    status = _status(invocation, surroundings, place)
    name = place.name if place is not None else str(status and status["name"])
    now = time.time()
    destination = _destination(name, output, now)
    with _all_or_nothing(destination) as folder:
        try:
            worktree = None if place is None else _worktree(surroundings, place, folder)
        except GitError as error:
            raise CommandError(str(error)) from None
        transcript = transcript_tail(invocation, lines) if status is not None else None
        if transcript is not None:
            (folder / TRANSCRIPT).write_text("".join(f"{line}\n" for line in transcript), "utf-8", "surrogateescape")
        manifest: dict[str, object] = {
            "version": _VERSION,
            "name": name,
            "collected_at": datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "agent": status,
            "exit_code": None if status is None else status["exit_code"],
            "exit_signal": None if status is None else status["exit_signal"],
            "worktree": worktree,
            "transcript": None if transcript is None else {"file": TRANSCRIPT, "lines": len(transcript)},
        }
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    return manifest, destination


def transcript_tail(invocation: Invocation, lines: int) -> list[str] | None:
    """Read the end of what the agent printed; ``None`` if nothing of it is left.

    Its transcript, or, where none is kept, what its terminal still has.
    """
    from urllib.parse import quote

    try:
        kept = invocation.api.read(f"/v1/agents/{quote(invocation.name(), safe='')}/log?tail={lines}")
        return [printable(line.rstrip()) for line in kept.decode("utf-8", "replace").splitlines()]
    except (ApiError, UnreachableError):
        # Not recorded, or without agentd: the terminal may tell.
        pass
    try:
        terminal = open_terminal(invocation)
        shown = terminal.ask("capture-pane", "-p", "-J", "-S", "-", "-t", terminal.pane)
    except (CommandError, UnreachableError) as error:
        invocation.warn(f"no transcript: {error}")
        return None
    return [line.rstrip() for line in shown][-lines:] if lines else []


def _place(invocation: Invocation, surroundings: Surroundings) -> Place | None:
    wanted = invocation.name().lower()
    return next((place for place in surroundings.worktrees(invocation) if place.name.lower() == wanted), None)


def _status(invocation: Invocation, surroundings: Surroundings, place: Place | None) -> Mapping[str, object] | None:
    """Ask for the agent; a worktree may be all that is left of one."""
    known = {} if surroundings.agents is None else {agent.lower() for agent in surroundings.agents}
    if place is not None and invocation.name().lower() not in known:
        return None
    document = agent_document(invocation.api, invocation.name())
    if not isinstance(document, dict):
        raise CommandError("the daemon's answer is no agent; agentd and agentctl are of different versions")
    return document


def _destination(name: str, output: str | None, now: float) -> Path:
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    return absolute(output if output is not None else f"{name}-collected-{stamp}")


@contextmanager
def _all_or_nothing(folder: Path) -> Iterator[Path]:
    """Make a folder that takes its name once it has all its content."""
    try:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        if folder.exists():
            raise CommandError(f"{folder} exists; name another folder with --output")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as part:
            made = Path(part) / "folder"
            made.mkdir(mode=0o700)
            yield made
            made.rename(folder)
    except OSError as error:
        raise CommandError(f"cannot write {folder}: {error.strerror}; name another folder with --output") from error


def _worktree(surroundings: Surroundings, place: Place, folder: Path) -> dict[str, object]:
    changes = look_at_changes(surroundings.git, place)
    with (folder / PATCH).open("wb") as file:
        changes.patch(file)
    commits = changes.commits()
    files = changes.files()
    if commits:
        with (folder / BUNDLE).open("wb") as file:
            changes.git.out(
                "bundle", "create", "--quiet", "-", f"{changes.start}..HEAD", stdout=file, limit=CHECKOUT_LIMIT
            )
    present = [file.path for file in files if file.status != "D"]
    if present:
        _write_files(changes, present, folder / FILES)
    return {
        "path": str(place.path),
        "repo": place.held.repo,
        "branch": place.held.branch,
        "base": place.held.base,
        "base_commit": changes.start,
        "head": changes.head,
        "patch": PATCH,
        "bundle": BUNDLE if commits else None,
        "files": FILES if present else None,
        "commits": [asdict(commit) for commit in commits],
        "changed": [asdict(file) for file in files],
    }


def _write_files(changes: Changes, paths: list[str], folder: Path) -> None:
    """Write the changed files as they are in the worktree, links as links."""
    folder.mkdir()
    for path, mode, content in changes.contents(frozenset(paths)):
        # git lets no path lead out of its tree, nor through a link in it.
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if mode == LINK:
            target.symlink_to(os.fsdecode(content))
        else:
            target.write_bytes(content)
            target.chmod(0o700 if mode == EXECUTABLE else 0o600)
