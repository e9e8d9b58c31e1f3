"""Running git in repositories that agents write to.

git runs as the agents' user, never as root, without environment variables that choose another repository. Its output
is trusted no more than that user, who controls the repository and the running git: object names and numbers are
checked, and so are paths before they are written (`tree_paths`).

What the repository's settings could make git execute besides (hooks, file watcher, background maintenance, pager,
external diff) is off. Filters (Git LFS) stay on, since a checkout is not complete without them. git's own check of a
repository's owner stays on.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Unpack

from agentd.process.runner import Finished, Runner, RunnerError, RunOptions
from agentd.text.quoting import quote

CHECKOUT_LIMIT: Final = 600.0
"""Seconds that git may take to write a worktree; the largest repositories take minutes."""

_OBJECT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?", re.ASCII)
"""Name of an object, by SHA-1 or SHA-256."""
_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)

NO_REPOSITORY: Final = "not a git repository"
"""What git says of a folder outside any repository, in the C locale."""

_SAFE: Final = (
    "core.hooksPath=/dev/null",
    # An "ext::" URL runs a program, and a partial clone fetches what it lacks.
    "protocol.ext.allow=never",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    # Detect changes by all that stat tells, not only by seconds and size.
    "core.checkStat=default",
    "core.trustctime=true",
    "core.quotePath=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "commit.gpgSign=false",
    "log.showSignature=false",
    "advice.detachedHead=false",
    "advice.addEmbeddedRepo=false",
    # Its warning about GIT_GRAFT_FILE would precede every error.
    "advice.graftFileDeprecated=false",
    "core.safecrlf=false",
    "diff.mnemonicPrefix=false",
    "diff.noprefix=false",
)
_ENVIRONMENT: Final = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_PAGER": "cat",
    # A commit's parents are those it names, whatever the repository replaces.
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": "/dev/null",
    # For the commits that save work.
    "GIT_AUTHOR_NAME": "agentd",
    "GIT_AUTHOR_EMAIL": "agentd@localhost",
    "GIT_COMMITTER_NAME": "agentd",
    "GIT_COMMITTER_EMAIL": "agentd@localhost",
}


class GitError(RuntimeError):
    """git failed; the message says where, and gives git's reason."""


class GitRefusedError(GitError):
    """git refused and exited by itself."""


@dataclass(frozen=True, slots=True)
class Git:
    """git in one repository or worktree.

    Each method raises `GitError` if git cannot be started, takes too long, prints too much or what git does not print
    by itself; all but `finish` and `found` also if it fails.
    """

    runner: Runner
    at: Path

    def in_folder(self, at: Path) -> Git:
        """Give git in another folder."""
        return Git(self.runner, at)

    def finish(self, *arguments: str | Path, **options: Unpack[RunOptions]) -> Finished:
        """Run git, whatever its exit status."""
        settings = [word for setting in _SAFE for word in ("-c", setting)]
        argv = ["git", "-C", str(self.at), *settings, *map(str, arguments)]
        options["environment"] = {**_ENVIRONMENT, **options.get("environment", {})}
        try:
            return self.runner.run(argv, **options)
        except RunnerError as error:
            raise GitError(f"{self.at}: {error}") from error

    def out(self, *arguments: str | Path, **options: Unpack[RunOptions]) -> bytes:
        """Run git, and give its output.

        Raises
        ------
        GitError
            If it fails; `GitRefusedError` unless a signal ended it.
        """
        done = self.finish(*arguments, **options)
        if done.status != 0:
            raise (GitRefusedError if done.status > 0 else GitError)(f"git {arguments[0]} in {self.at}: {done.reason}")
        return done.out

    def line(self, *arguments: str | Path, **options: Unpack[RunOptions]) -> str:
        """Run git, and give the line it prints."""
        return _line(self.out(*arguments, **options))

    def object(self, *arguments: str | Path, **options: Unpack[RunOptions]) -> str:
        """Run git, and give the object name it prints."""
        return _checked(self.line(*arguments, **options), _OBJECT, self.at)

    def number(self, *arguments: str | Path, **options: Unpack[RunOptions]) -> int:
        """Run git, and give the number it prints."""
        return int(_checked(self.line(*arguments, **options), _NUMBER, self.at))

    def found(self, *arguments: str | Path) -> str | None:
        """Run git, and give the line it prints, or ``None`` if it fails."""
        done = self.finish(*arguments)
        return _line(done.out) if done.status == 0 else None

    def paths(self, *arguments: str | Path, **options: Unpack[RunOptions]) -> list[str]:
        """Run git with ``-z``, and give the list it prints; bytes that are not UTF-8 become surrogates."""
        return split_z(self.out(*arguments, **options))

    def hidden(self, **options: Unpack[RunOptions]) -> list[str]:
        """List the existing files that git is told to overlook (``assume-unchanged``, ``skip-worktree``)."""
        entries = self.paths("ls-files", "-v", "-z", **options)
        marked = [entry[2:] for entry in entries if entry[0].islower() or entry[0] == "S"]
        return [path for path in marked if os.path.lexists(self.at / path)]

    def common_dir(self) -> Path:
        """Give the git directory that all worktrees of a repository share."""
        return Path(self.line("rev-parse", "--path-format=absolute", "--git-common-dir"))

    def git_dir(self, repository: Git) -> Path:
        """Give the git directory of this worktree.

        Raises
        ------
        GitError
            If this folder is no longer the root of a worktree of `repository`.
        """
        top = self.finish("rev-parse", "--show-toplevel")
        if NO_REPOSITORY in top.err or not (
            same_folder(Path(self.line("rev-parse", "--show-toplevel")), self.at)
            and same_folder(self.common_dir(), repository.common_dir())
        ):
            raise GitError(
                f"{self.at} is no longer a worktree of {repository.at}: look into it and move it away by hand"
            )
        return Path(self.line("rev-parse", "--absolute-git-dir"))

    def commit(self, revision: str) -> str | None:
        """Resolve a revision to a commit; ``None`` if there is none."""
        if revision.startswith("-"):
            # git would take it for an option.
            return None
        commit = self.found("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        return None if commit is None else _checked(commit, _OBJECT, self.at)


def is_object(text: str) -> bool:
    """Whether a text has the form of an object name."""
    return _OBJECT.fullmatch(text) is not None


def split_z(output: bytes) -> list[str]:
    """Split what git separates with NUL."""
    return [_text(part) for part in output.split(b"\0") if part]


def _checked(text: str, form: re.Pattern[str], at: Path) -> str:
    if form.fullmatch(text) is None:
        raise GitError(f"git in {at} answered {quote(text)}, which no git prints by itself; look into that repository")
    return text


def _line(output: bytes) -> str:
    if b"\0" in output:
        raise GitError("git answered with a NUL byte where a line of text was expected; look at that repository")
    return _text(output).removesuffix("\n")


def same_folder(one: Path, other: Path) -> bool:
    """Whether two paths lead to the same folder, by links or mounts too."""
    try:
        return one.samefile(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
