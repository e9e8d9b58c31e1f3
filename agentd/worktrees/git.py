"""Running git in repositories that agents write to.

git runs as the agents' user, never as root, and with nothing in its environment that chooses another repository. What
it says is no more to be trusted than that user, who can change the repository and the running git: what is taken for
an object or a number is looked at first, and paths are checked before they are written (`tree_paths`).

What a repository's own settings could make git execute beside its work (hooks, the file watcher, background
maintenance, pager, external diff) is off; filters (Git LFS) are not, since a checkout without them is none. git's own
check that a repository belongs to whoever uses it stays on: git says what to do where it does not.
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
"""Seconds that git may take to write a worktree: the largest repositories take minutes."""

_OBJECT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?", re.ASCII)
"""Name of an object, by SHA-1 or SHA-256."""
_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)

NO_REPOSITORY: Final = "not a git repository"
"""What git says of a folder that is none, in the language that it is run with."""

_SAFE: Final = (
    "core.hooksPath=/dev/null",
    # An address of this kind is a program; git asks a remote for what a partial clone lacks.
    "protocol.ext.allow=never",
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
        take: Callable[[bytes], object] | None = None,
        environment: Mapping[str, str] | None = None,
        limit: float = LIMIT,
        most: int = MOST,
    ) -> Finished:
        """Run to the end, whatever becomes of it.

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
        """Run, and give what it prints.

        Raises
        ------
        GitError
            If it fails; `GitRefusedError` if it was not ended by a signal.
        """
        done = self.finish(*arguments, stdin=stdin, take=take, environment=environment, limit=limit, most=most)
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
        return _line(self.out(*arguments, stdin=stdin, environment=environment))

    def object(self, *arguments: str | Path, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> str:
        """Run, and give the name of the object that it prints.

        Raises
        ------
        GitError
            If it fails, or prints anything else.
        """
        return _checked(self.line(*arguments, stdin=stdin, environment=environment), _OBJECT, self.at)

    def number(self, *arguments: str | Path, stdin: bytes = b"") -> int:
        """Run, and give the number that it prints.

        Raises
        ------
        GitError
            If it fails, or prints anything else.
        """
        return int(_checked(self.line(*arguments, stdin=stdin), _NUMBER, self.at))

    def found(self, *arguments: str | Path) -> str | None:
        """Run, and give the one line it prints, or ``None`` where it finds nothing.

        Raises
        ------
        GitError
            If it cannot be run.
        """
        done = self.finish(*arguments)
        return _line(done.out) if done.status == 0 else None

    def paths(self, *arguments: str | Path, environment: Mapping[str, str] | None = None) -> list[str]:
        """Run with ``-z``, and give what it lists; bytes that are not UTF-8 as lone surrogates.

        Raises
        ------
        GitError
            If it fails.
        """
        return split_z(self.out(*arguments, environment=environment))

    def own_folder(self, repository: Git) -> Path:
        """Find the folder that git keeps of this worktree of a repository.

        Raises
        ------
        GitError
            If this is no longer the root of a worktree of that repository: git would work on another one.
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
        """Find the commit that a revision means.

        Raises
        ------
        GitError
            If git cannot be run, or names anything else.
        """
        if revision.startswith("-"):
            # An option of git's, wherever it came from.
            return None
        commit = self.found("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        return None if commit is None else _checked(commit, _OBJECT, self.at)


def is_object(text: str) -> bool:
    """Whether a text can be the name of an object."""
    return _OBJECT.fullmatch(text) is not None


def split_z(output: bytes) -> list[str]:
    """Take apart what git separates with NUL."""
    return [_text(part) for part in output.split(b"\0") if part]


def _checked(text: str, form: re.Pattern[str], at: Path) -> str:
    if form.fullmatch(text) is None:
        raise GitError(f"git in {at} answered {quote(text)}, which it never would by itself; look at that repository")
    return text


def _line(output: bytes) -> str:
    if b"\0" in output:
        raise GitError("git answered with a NUL byte where a line of text was expected; look at that repository")
    return _text(output).removesuffix("\n")


def same_folder(one: Path, other: Path) -> bool:
    """Whether two paths lead to one folder: by links, or by mounts of it in several places."""
    try:
        return one.samefile(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
