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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentd.process.runner import LIMIT, MOST, Finished, Runner, RunnerError
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
    """git in one repository or worktree."""

    runner: Runner
    at: Path

    def in_folder(self, at: Path) -> Git:
        """Give git in another folder."""
        return Git(self.runner, at)

    def finish(
        self,
        *arguments: str | Path,
        stdin: bytes = b"",
        take: Callable[[bytes], object] | None = None,
        environment: Mapping[str, str] | None = None,
        limit: float = LIMIT,
        most: int = MOST,
    ) -> Finished:
        """Run git, whatever its exit status.

        Raises
        ------
        GitError
            If it cannot be started, takes too long or prints too much.
        """
        settings = [word for setting in _SAFE for word in ("-c", setting)]
        argv = ["git", "-C", str(self.at), *settings, *map(str, arguments)]
        try:
            return self.runner.run(
                argv,
                stdin=stdin,
                take=take,
                environment={**_ENVIRONMENT, **(environment or {})},
                limit=limit,
                most=most,
            )
        except RunnerError as error:
            raise GitError(f"{self.at}: {error}") from error

    def out(
        self,
        *arguments: str | Path,
        stdin: bytes = b"",
        take: Callable[[bytes], object] | None = None,
        environment: Mapping[str, str] | None = None,
        limit: float = LIMIT,
        most: int = MOST,
    ) -> bytes:
        """Run git, and give its output.

        Raises
        ------
        GitError
            If it fails; `GitRefusedError` unless a signal ended it.
        """
        done = self.finish(*arguments, stdin=stdin, take=take, environment=environment, limit=limit, most=most)
        if done.status != 0:
            raise (GitRefusedError if done.status > 0 else GitError)(f"git {arguments[0]} in {self.at}: {done.reason}")
        return done.out

    def line(self, *arguments: str | Path, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> str:
        """Run git, and give the line it prints.

        Raises
        ------
        GitError
            If it fails.
        """
        return _line(self.out(*arguments, stdin=stdin, environment=environment))

    def object(self, *arguments: str | Path, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> str:
        """Run git, and give the object name it prints.

        Raises
        ------
        GitError
            If it fails, or prints anything else.
        """
        return _checked(self.line(*arguments, stdin=stdin, environment=environment), _OBJECT, self.at)

    def number(self, *arguments: str | Path, stdin: bytes = b"") -> int:
        """Run git, and give the number it prints.

        Raises
        ------
        GitError
            If it fails, or prints anything else.
        """
        return int(_checked(self.line(*arguments, stdin=stdin), _NUMBER, self.at))

    def found(self, *arguments: str | Path) -> str | None:
        """Run git, and give the line it prints, or ``None`` if it fails.

        Raises
        ------
        GitError
            If it cannot be run.
        """
        done = self.finish(*arguments)
        return _line(done.out) if done.status == 0 else None

    def paths(self, *arguments: str | Path, environment: Mapping[str, str] | None = None) -> list[str]:
        """Run git with ``-z``, and give the list it prints; bytes that are not UTF-8 become surrogates.

        Raises
        ------
        GitError
            If it fails.
        """
        return split_z(self.out(*arguments, environment=environment))

    def git_dir(self, repository: Git) -> Path:
        """Give the git directory of this worktree.

        Raises
        ------
        GitError
            If this folder is no longer the root of a worktree of `repository`.
        """
        if NO_REPOSITORY in self.finish("rev-parse", "--show-toplevel").err:
            raise self._not_a_worktree_of(repository)
        top = self.line("rev-parse", "--show-toplevel")
        common = self.line("rev-parse", "--path-format=absolute", "--git-common-dir")
        expected = repository.line("rev-parse", "--path-format=absolute", "--git-common-dir")
        if not (same_folder(Path(top), self.at) and same_folder(Path(common), Path(expected))):
            raise self._not_a_worktree_of(repository)
        return Path(self.line("rev-parse", "--absolute-git-dir"))

    def _not_a_worktree_of(self, repository: Git) -> GitError:
        return GitError(f"{self.at} is no longer a worktree of {repository.at}: look into it and move it away by hand")

    def commit(self, revision: str) -> str | None:
        """Resolve a revision to a commit; ``None`` if there is none.

        Raises
        ------
        GitError
            If git cannot be run, or names anything else.
        """
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
