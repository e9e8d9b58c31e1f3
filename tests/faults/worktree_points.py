"""Fault points of git worktrees: the steps at which agentd, or agentctl, is killed."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.points import Point


def _git(*words: str) -> Callable[..., bool]:
    """Whether git is told these words in this order, by a list of its own or as arguments of the call."""

    def told(_: object, *arguments: object) -> bool:
        given = arguments[0] if len(arguments) > 0 and isinstance(arguments[0], list) else arguments
        found = [word for word in map(str, given) if word in words]
        return found == list(words)

    return told


_CREATE, _ENSURE, _REMOVAL = "agentd.worktrees.create", "agentd.worktrees.ensure", "agentd.worktrees.removal"
_RESTORE = "agentd.worktrees.restore"
_FOLDERS = "agentd.supervise.work_folders"
_TRASH = "agentd.worktrees.trash"
_GIT, _RUNNER = "agentd.worktrees.git", "agentd.process.runner"

WORKTREE_POINTS = (
    Point("make.folder", _CREATE, "create_parent"),
    Point("make.cleared", _CREATE, "clear_path"),
    Point("make.adding", _RUNNER, "Runner._start", when=_git("worktree", "add")),
    Point("make.added", _GIT, "Git.out", when=_git("worktree", "add")),
    Point("make.before_known", _CREATE, "write_record", before=True),
    Point("make.known", _CREATE, "write_record"),
    Point("make.unlocked", _GIT, "Git.out", when=_git("worktree", "unlock")),
    Point("make.done", _FOLDERS, "_make_worktree"),
    Point("aside.begun", _ENSURE, "_make_room", before=True),
    Point("aside.before_known", _ENSURE, "write_record", before=True),
    Point("aside.before_moved", _GIT, "Git.out", before=True, when=_git("worktree", "move")),
    Point("aside.moving", _RUNNER, "Runner._start", when=_git("worktree", "move")),
    Point("aside.moved", _GIT, "Git.out", when=_git("worktree", "move")),
    Point("aside.known", _ENSURE, "delete_record"),
    Point("aside.done", _ENSURE, "_make_room"),
    Point("base.begun", _ENSURE, "_without_branch", before=True),
    Point("base.detached", _GIT, "Git.out", when=_git("update-ref", "--no-deref")),
    Point("base.branch_removed", _GIT, "Git.out", when=_git("update-ref", "-d")),
    Point("base.known", _ENSURE, "write_record"),
    Point("base.without_branch", _ENSURE, "_without_branch"),
    Point("base.room_made", _ENSURE, "_make_room"),
    Point("remove.looked", _REMOVAL, "inspect"),
    Point("remove.work_saved", _TRASH, "_keep"),
    Point("remove.all_saved", _REMOVAL, "save_work"),
    Point("remove.snapshot_kept", _REMOVAL, "write_snapshot"),
    Point("remove.moved_away", _REMOVAL, "_move_away"),
    Point("remove.deleting", _REMOVAL, "delete", before=True),
    Point("remove.before_removed", _GIT, "Git.out", before=True, when=_git("worktree", "remove")),
    Point("remove.removing", _RUNNER, "Runner._start", when=_git("worktree", "remove")),
    Point("remove.removed", _GIT, "Git.out", when=_git("worktree", "remove")),
    Point("remove.branch_removed", _GIT, "Git.out", when=_git("update-ref", "-d")),
    Point("remove.forgotten", _REMOVAL, "delete_record"),
    Point("restore.begun", _RESTORE, "restore_worktree", before=True),
    Point("restore.room_made", _RESTORE, "_make_room"),
    Point("restore.branch", _RESTORE, "_branch"),
    Point("restore.before_known", _RESTORE, "write_record", before=True),
    Point("restore.known", _RESTORE, "write_record"),
    Point("restore.adding", _RUNNER, "Runner._start", when=_git("worktree", "add")),
    Point("restore.added", _GIT, "Git.out", when=_git("worktree", "add")),
    Point("restore.putting_back", _RESTORE, "_put_work_back", before=True),
    Point("restore.files_back", _GIT, "Git.out", when=_git("read-tree", "-u")),
    Point("restore.back", _RESTORE, "_put_work_back"),
    Point("restore.unlocked", _GIT, "Git.out", when=_git("worktree", "unlock")),
)
"""Steps of making, setting aside, beginning anew, removing and restoring a worktree, by the daemon or by agentctl."""
