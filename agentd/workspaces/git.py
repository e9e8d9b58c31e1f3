"""Running git in repositories that agents write to.

git runs as the agents' user, never as root, and with nothing in its environment that chooses another repository. What a
repository's own settings could make it execute beside its work (hooks, the file watcher, background maintenance, pager,
external diff) is off; filters (Git LFS) are not, since a checkout without them is none. git's own check that a
repository belongs to whoever uses it stays on: git says what to do where it does not.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from agentd.workspaces.runner import LIMIT, Finished, Runner, RunnerError

CHECKOUT_LIMIT: Final = 600.0
"""Seconds that git may take to write a worktree: the largest repositories take minutes."""

_SAFE: Final = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    # What has changed is to be seen by more than a coarse time and size.
    "core.checkStat=default",
    "core.trustctime=true",
    "core.quotePath=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "commit.gpgSign=false",
    "log.showSignature=false",
    "advice.detachedHead=false",
    "advice.addEmbeddedRepo=false",
    # Said of GIT_GRAFT_FILE, before the reason of every failure.
    "advice.graftFileDeprecated=false",
    "core.safecrlf=false",
    "diff.mnemonicPrefix=false",
    "diff.noprefix=false",
)
_ENVIRONMENT: Final = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_PAGER": "cat",
    # What a commit descends from is what it says, not what the repository's settings make of it.
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": "/dev/null",
    # Of the commits that save what a worktree held.
    "GIT_AUTHOR_NAME": "agentd",
    "GIT_AUTHOR_EMAIL": "agentd@localhost",
    "GIT_COMMITTER_NAME": "agentd",
    "GIT_COMMITTER_EMAIL": "agentd@localhost",
}


class GitError(RuntimeError):
    """git could not do its work; the text says where, and git's reason."""


class GitRefusedError(GitError):
    """git said why it does not do something, and ended by itself."""


@dataclass(frozen=True, slots=True)
class Git:
    """git, at one repository or worktree."""

    runner: Runner
    at: Path

    def elsewhere(self, at: Path) -> Git:
        """The same at another place."""
        return Git(self.runner, at)

    def finish(
        self,
        *arguments: str | Path,
        stdin: bytes = b"",
        stdout: IO[bytes] | None = None,
        environment: Mapping[str, str] | None = None,
        limit: float = LIMIT,
    ) -> Finished:
        """Run to the end, whatever becomes of it.

        Raises
        ------
        GitError
            If it cannot be started, or takes too long.
        """
        settings = [word for setting in _SAFE for word in ("-c", setting)]
        argv = ["git", "-C", str(self.at), *settings, *map(str, arguments)]
        try:
            return self.runner.run(
                argv, stdin=stdin, stdout=stdout, environment={**_ENVIRONMENT, **(environment or {})}, limit=limit
            )
        except RunnerError as error:
            raise GitError(f"{self.at}: {error}") from error

    def out(
        self,
        *arguments: str | Path,
        stdin: bytes = b"",
        stdout: IO[bytes] | None = None,
        environment: Mapping[str, str] | None = None,
        limit: float = LIMIT,
    ) -> bytes:
        """Run, and give what it prints.

        Raises
        ------
        GitError
            If it fails; `GitRefusedError` if it was not ended by a signal.
        """
        done = self.finish(*arguments, stdin=stdin, stdout=stdout, environment=environment, limit=limit)
        if done.status != 0:
            raise (GitRefusedError if done.status > 0 else GitError)(f"git {arguments[0]} in {self.at}: {done.reason}")
        return done.out

    def line(self, *arguments: str | Path, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> str:
        """Run, and give the one line it prints.

        Raises
        ------
        GitError
            If it fails.
        """
        return _text(self.out(*arguments, stdin=stdin, environment=environment)).removesuffix("\n")

    def found(self, *arguments: str | Path) -> str | None:
        """Run, and give the one line it prints, or ``None`` where it finds nothing.

        Raises
        ------
        GitError
            If it cannot be run.
        """
        done = self.finish(*arguments)
        return _text(done.out).removesuffix("\n") if done.status == 0 else None

    def paths(self, *arguments: str | Path, environment: Mapping[str, str] | None = None) -> list[str]:
        """Run with ``-z``, and give what it lists; bytes that are not UTF-8 as lone surrogates.

        Raises
        ------
        GitError
            If it fails.
        """
        return split_z(self.out(*arguments, environment=environment))

    def own_folder(self, repo: Path) -> Path:
        """Find the folder that git keeps of this worktree of a repository.

        Raises
        ------
        GitError
            If this is no longer the root of a worktree of that repository: git would work on another one.
        """
        top = self.line("rev-parse", "--show-toplevel")
        common = self.line("rev-parse", "--path-format=absolute", "--git-common-dir")
        expected = self.elsewhere(repo).line("rev-parse", "--path-format=absolute", "--git-common-dir")
        if not (_same(top, str(self.at)) and _same(common, expected)):
            raise GitError(f"{self.at} is no longer a worktree of {repo}: look into it and move it away by hand")
        return Path(self.line("rev-parse", "--absolute-git-dir"))

    def commit(self, revision: str) -> str | None:
        """Find the commit that a revision means."""
        return self.found("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")


def split_z(output: bytes) -> list[str]:
    """Take apart what git separates with NUL."""
    return [_text(part) for part in output.split(b"\0") if part]


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
