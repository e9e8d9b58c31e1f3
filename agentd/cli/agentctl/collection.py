"""Write an agent's work into a folder.

The worktree is read by git, as the agents' user, from git's own objects: whatever the agent puts into its worktree
meanwhile, links above all, cannot make us read another file. Nor can git's output, which that user can forge, make us
write another one: all paths are checked before the first is written, and files are written relative to descriptors
(`output_folder`).
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from agentd.cli.agentctl.client import ApiError, UnreachableError
from agentd.cli.agentctl.command import CommandError, Invocation
from agentd.cli.agentctl.lookup import agent_document, agent_path
from agentd.cli.agentctl.output_folder import OutputFolder, new_folder
from agentd.cli.agentctl.worktree_context import WorktreeContext, check_answering
from agentd.settings.folders import absolute
from agentd.text.quoting import printable, quote
from agentd.text.timestamps import rfc3339
from agentd.worktrees.changes import Changes, read_changes
from agentd.worktrees.git import CHECKOUT_LIMIT, GitError
from agentd.worktrees.record import Worktree
from agentd.worktrees.tree_paths import EXECUTABLE, LINK, SUBMODULE, TreeFile, folded, leads_outside

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PATCH = "changes.patch"
BUNDLE = "commits.bundle"
FILES = "files"
TRANSCRIPT = "transcript.txt"
MANIFEST = "manifest.json"

_VERSION = 1

MOST: Final = 4 * 1024**3
"""Most bytes of the patch, of the bundle, and of all files together: an agent must not fill our disk."""


def collect(invocation: Invocation, output: str | None, lines: int) -> tuple[Mapping[str, object], Path]:
    """Collect the work of the agent that the command line names.

    Returns
    -------
    The manifest, and the folder.

    Raises
    ------
    CommandError
        If there is neither such an agent nor its worktree, or something cannot be read or written.
    """
    context = WorktreeContext.of(invocation)
    wanted = invocation.name().lower()
    worktree = next((each for each in context.worktrees(invocation) if each.name.lower() == wanted), None)
    status = _status(invocation, context, worktree)
    name = worktree.name if worktree is not None else str(status and status["name"])
    now = time.time()
    destination = _destination(name, output, now)
    with new_folder(destination) as folder:
        try:
            document = None if worktree is None else _collect_worktree(context, worktree, folder)
        except GitError as error:
            raise CommandError(str(error)) from None
        transcript = transcript_tail(invocation, lines) if status is not None else None
        if transcript is not None:
            _write(folder, TRANSCRIPT, "".join(f"{line}\n" for line in transcript))
        manifest: dict[str, object] = {
            "version": _VERSION,
            "name": name,
            "collected_at": rfc3339(now),
            "agent": status,
            "exit_code": None if status is None else status["exit_code"],
            "exit_signal": None if status is None else status["exit_signal"],
            "worktree": document,
            "transcript": None if transcript is None else {"file": TRANSCRIPT, "lines": len(transcript)},
        }
        _write(folder, MANIFEST, json.dumps(manifest, indent=2) + "\n")
    for left in [] if document is None else document["not_written"]:
        invocation.warn(f"not in {FILES}: {quote(left['path'])}, {left['reason']}")
    return manifest, destination


def _write(folder: OutputFolder, name: str, text: str) -> None:
    with folder.new_file(name) as file:
        file.write(text.encode("utf-8", "surrogateescape"))


def transcript_tail(invocation: Invocation, lines: int) -> list[str] | None:
    """Read the last `lines` of the agent's transcript, or else of its terminal; ``None`` if there is neither."""
    try:
        kept = invocation.api.read(f"{agent_path(invocation.name(), '/log')}?tail={lines}")
        return [printable(line.rstrip()) for line in kept.decode("utf-8", "replace").splitlines()]
    except (ApiError, UnreachableError):
        # Not recorded, or agentd is down: the terminal may have it.
        from agentd.cli.agentctl.terminals import open_terminal
    try:
        shown = open_terminal(invocation).pane.capture_pane(start="-", join_wrapped=True)
    except (CommandError, UnreachableError) as error:
        invocation.warn(f"no transcript: {error}")
        return None
    return [printable(line.rstrip()) for line in shown[-lines:]] if lines else []


def _status(invocation: Invocation, context: WorktreeContext, worktree: Worktree | None) -> Mapping[str, object] | None:
    """Read the agent's status; ``None`` if only its worktree is left."""
    known = {} if context.agents is None else {agent.lower() for agent in context.agents}
    if worktree is not None and invocation.name().lower() not in known:
        return None
    document = agent_document(invocation.api, invocation.name())
    if not isinstance(document, dict):
        raise CommandError("the daemon's answer is no agent: agentd and agentctl are of different versions")
    return document


def _destination(name: str, output: str | None, now: float) -> Path:
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    return absolute(output if output is not None else f"{name}-collected-{stamp}")


def _collect_worktree(context: WorktreeContext, worktree: Worktree, folder: OutputFolder) -> dict[str, Any]:
    check_answering(worktree)
    changes = read_changes(context.git, worktree)
    commits = changes.commits()
    files = changes.files()
    present = changes.tree_files(frozenset(file.path for file in files if file.status != "D"))
    with folder.new_file(PATCH) as file:
        changes.patch(file.write, MOST)
    if commits:
        with folder.new_file(BUNDLE) as file:
            revisions = f"{changes.start}..HEAD"
            bundle = ("bundle", "create", "--quiet", "-", revisions)
            changes.git.out(*bundle, take=file.write, limit=CHECKOUT_LIMIT, most=MOST)
    return {
        "path": str(worktree.path),
        "repo": worktree.record.repo,
        "branch": worktree.record.branch,
        "base": worktree.record.base,
        "base_commit": changes.start,
        "head": changes.head,
        "patch": PATCH,
        "bundle": BUNDLE if commits else None,
        "files": FILES if present else None,
        "commits": [asdict(commit) for commit in commits],
        "changed": [asdict(file) for file in files],
        "not_written": _write_files(changes, present, folder),
    }


def _write_files(changes: Changes, present: list[TreeFile], folder: OutputFolder) -> list[dict[str, str]]:
    """Write the changed files as they are in the worktree, and return those left out, with the reason."""
    files = [file for file in present if file.mode not in (LINK, SUBMODULE)]
    links = [file for file in present if file.mode == LINK]
    left = [{"path": file.path, "reason": "a repository of its own"} for file in present if file.mode == SUBMODULE]
    writer = _Writer(folder)
    try:
        changes.read(files, writer.begin, MOST)
    finally:
        writer.end()
    targets: dict[str, bytearray] = {link.path: bytearray() for link in links}
    changes.read(links, lambda link: targets[link.path].extend, MOST)
    # Links must not lead the reader, or a program that follows them, to the reader's own files.
    known = {folded(link.path): link for link in links}
    for link in links:
        target = bytes(targets[link.path])
        if leads_outside(link, target, known):
            left.append({"path": link.path, "reason": f"a link that leads outside, to {quote(os.fsdecode(target))}"})
        else:
            folder.new_link(f"{FILES}/{link.path}", target)
    return left


class _Writer:
    """Writes files one after the other."""

    def __init__(self, folder: OutputFolder) -> None:
        self._folder = folder
        self._file: BinaryIO | None = None

    def begin(self, file: TreeFile) -> Callable[[bytes], object]:
        self.end()
        self._file = self._folder.new_file(f"{FILES}/{file.path}", executable=file.mode == EXECUTABLE)
        return self._file.write

    def end(self) -> None:
        if self._file is not None:
            self._file.close()
