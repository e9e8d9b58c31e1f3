"""Write an agent's work into a folder."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentd.cli.agentctl.client import ApiError, UnreachableError
from agentd.cli.agentctl.command import CommandError, Invocation
from agentd.cli.agentctl.lookup import agent_document, agent_path
from agentd.cli.agentctl.worktree_context import WorktreeContext, check_answering
from agentd.pool.output_folder import OutputFolder, new_folder
from agentd.pool.work_files import BUNDLE, FILES, PATCH, write_work
from agentd.settings.folders import absolute
from agentd.text.quoting import printable, quote
from agentd.text.timestamps import compact, rfc3339
from agentd.worktrees.changes import read_changes
from agentd.worktrees.git import GitError
from agentd.worktrees.record import Worktree

if TYPE_CHECKING:
    from collections.abc import Mapping

TRANSCRIPT = "transcript.txt"
MANIFEST = "manifest.json"

_VERSION = 1


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
    return absolute(output if output is not None else f"{name}-collected-{compact(now)}")


def _collect_worktree(context: WorktreeContext, worktree: Worktree, folder: OutputFolder) -> dict[str, Any]:
    check_answering(worktree)
    changes = read_changes(context.git, worktree)
    written = write_work(changes, folder)
    return {
        "path": str(worktree.path),
        "repo": worktree.record.repo,
        "branch": worktree.record.branch,
        "base": worktree.record.base,
        "base_commit": changes.start,
        "head": changes.head,
        "patch": PATCH,
        "bundle": BUNDLE if written.bundle else None,
        "files": FILES if written.files else None,
        "commits": [asdict(commit) for commit in written.commits],
        "changed": [asdict(file) for file in written.changed],
        "not_written": [asdict(each) for each in written.not_written],
    }
