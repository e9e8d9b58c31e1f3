"""What is known of each worktree, also once its agent is no longer declared: a JSON file beside its folder."""

from __future__ import annotations

import json
import os
from dataclasses import MISSING, asdict, dataclass, fields
from itertools import count
from pathlib import Path
from typing import Final

from agentd.files.regular import read_regular
from agentd.launch.launcher import quote as quote_for_shell
from agentd.process.runner import Runner, RunnerError
from agentd.text.quoting import quote

_SUFFIX: Final = ".json"
_LARGEST: Final = 64 * 1024
_ASIDE: Final = "~"
"""Between an agent's name and a number, for worktrees that had to make room for another; no name has it."""

MAKING: Final = "making"
"""It is made: its agent was never in it."""


class HeldError(RuntimeError):
    """What is known of a worktree cannot be read or written; the text says why."""


@dataclass(frozen=True, slots=True)
class Held:
    """One worktree that agentd made."""

    agent: str
    repo: str
    branch: str | None
    """``None`` for a checkout that is not to be changed."""
    base: str | None
    """As declared."""
    base_ref: str | None
    """What the base was called in the repository, to find it again: a branch; ``None`` for a mere commit."""
    base_commit: str
    """Where it started."""
    made: str
    """RFC 3339."""
    under_way: str | None = None
    """`MAKING` until git is done with that: what there is by then is no work of the agent's."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one worktree is, and what is known of it."""

    name: str
    """The agent's, or one with a number for a worktree set aside."""
    path: Path
    held: Held


def read_held(path: Path) -> Held | None:
    """Read what is known of the worktree at `path`; ``None`` if nothing is.

    Raises
    ------
    HeldError
        If it cannot be read, or is none of agentd's.
    """
    file = _file(path)
    try:
        values = json.loads(read_regular(file, _LARGEST))
        # Records of a former version lack what has a default.
        known = [field.name for field in fields(Held) if field.default is MISSING or field.name in values]
        return _checked(Held(**{name: _text_of(values[name]) for name in known}))  # type: ignore[arg-type]  # checked
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HeldError(f"cannot read {file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise HeldError(f"{file} is none of agentd's: {error}; move it away") from error


def _checked(held: Held) -> Held:
    """See to it that git takes none of it for an option, or for a place that depends on where it is run."""
    if not all(isinstance(text, str) for text in (held.agent, held.repo, held.base_commit, held.made)):
        raise TypeError("expected text, found null")
    if not held.repo.startswith("/"):
        raise ValueError(f"expected an absolute path as repo, found {quote(held.repo)}")
    for text in (held.branch, held.base, held.base_ref, held.base_commit):
        if text is not None and text.startswith("-"):
            raise ValueError(f"expected no option of git's, found {quote(text)}")
    return held


def _text_of(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        msg = f"expected text, found {type(value).__name__}"
        raise TypeError(msg)
    if value is not None and "\0" in value:
        raise ValueError("expected text, found a NUL byte in it")
    return value


def all_held(folder: Path) -> tuple[list[Place], list[str]]:
    """Find every worktree in the folder of worktrees.

    Returns
    -------
    The worktrees, sorted by name, and a message for each that is not understood.

    Raises
    ------
    HeldError
        If the folder cannot be read.
    """
    places, problems = [], []
    try:
        names = sorted(entry.name.removesuffix(_SUFFIX) for entry in folder.iterdir() if entry.suffix == _SUFFIX)
    except FileNotFoundError:
        return [], []
    except OSError as error:
        raise HeldError(f"cannot look into {folder}: {error.strerror}") from error
    for name in names:
        try:
            held = read_held(folder / name)
        except HeldError as error:
            problems.append(str(error))
            continue
        if held is not None:
            places.append(Place(name, folder / name, held))
    return places, problems


def write_held(runner: Runner, path: Path, held: Held) -> None:
    """Write what is known of the worktree at `path`, as the agents' user.

    Raises
    ------
    HeldError
        If it cannot be written.
    """
    file = os.fsencode(_file(path))
    text = json.dumps(asdict(held), indent=1) + "\n"
    part, whole = quote_for_shell(file + b".part"), quote_for_shell(file)
    _script(runner, b"printf %s " + quote_for_shell(text) + b" >" + part + b" && mv -f -- " + part + b" " + whole)


def forget_held(runner: Runner, path: Path) -> None:
    """Remove what is known of the worktree at `path`.

    Raises
    ------
    HeldError
        If it cannot be removed.
    """
    _script(runner, b"rm -f -- " + quote_for_shell(os.fsencode(_file(path))))


def free_place_beside(place: Place) -> Path:
    """Find a path for a worktree that has to make room: ``NAME~1``, then ``NAME~2`` and so on.

    Raises
    ------
    HeldError
        If what is known of one that is there cannot be read.
    """
    for number in count(1):
        candidate = place.path.with_name(f"{place.path.name}{_ASIDE}{number}")
        # One without a folder, and known as this one, is what an attempt left that was cut off.
        if not os.path.lexists(candidate) and read_held(candidate) in (None, place.held):
            return candidate
    raise AssertionError


def set_aside_as(place: Place) -> Path | None:
    """Find where a worktree is that was set aside, if agentd ended before it could forget its former place.

    Raises
    ------
    HeldError
        If the folder of worktrees cannot be read.
    """
    for other in all_held(place.path.parent)[0]:
        beside = other.name.rpartition(_ASIDE)[0] == place.name
        if beside and other.held == place.held and os.path.lexists(other.path):
            return other.path
    return None


def rubbish_of(path: Path) -> Path:
    """Where a worktree is put to be deleted, so that nobody takes half of it for a whole one."""
    return path.with_name(f"{path.name}{_ASIDE}removed")


def _file(path: Path) -> Path:
    return path.with_name(path.name + _SUFFIX)


def _script(runner: Runner, text: bytes) -> None:
    try:
        done = runner.script(text)
    except RunnerError as error:
        raise HeldError(str(error)) from error
    if done.status != 0:
        raise HeldError(f"as user {runner.user.name}: {done.reason}")
