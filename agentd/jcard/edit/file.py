"""Edit the jcard on disk: locked, atomically, and never over somebody else's change."""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from agentd.files.answering import NotAnsweringError, within
from agentd.files.locks import LockedError, locked
from agentd.files.regular import read_regular
from agentd.files.replacing import Replacement
from agentd.jcard.document import parse_document
from agentd.jcard.problems import Problem

_NIX_STORE: Final = Path("/nix/store")

_ATTEMPTS: Final = 20
"""How often an edit is repeated because the file changed meanwhile."""

_WRITE_LIMIT: Final = 10.0
"""Seconds that writing and flushing may take."""

_ELSEWHERE: Final = (
    "if another program writes it, change the setting there (NixOS: services.agentd.settings, then rebuild)"
)

_READ_ONLY: Final = {errno.EROFS, errno.EACCES, errno.EPERM}


class FileEditError(Exception):
    """The file cannot be edited; the message says which, why, and where else the setting may be."""


@dataclass(frozen=True, slots=True)
class FileEdit:
    """An edit of a file."""

    file: Path
    """The file that symlinks lead to."""
    before: str
    """Its text, without a byte order mark; empty if there was no file."""
    after: str
    content: bytes | None
    """The new content; ``None`` if the file is removed."""

    @property
    def changed(self) -> bool:
        """Whether the text changed."""
        return self.before != self.after


def edit_file(
    path: Path,
    edit: Callable[[str], str],
    *,
    limit: int,
    check: Callable[[bytes | None], None],
    create: bool = False,
    remove: Callable[[str], bool] = lambda _: False,
    dry_run: bool = False,
) -> FileEdit:
    """Edit a file.

    Parameters
    ----------
    path
        The file, absolute; a symlink stays, and its target is edited.
    edit
        Gives the new text; called again if somebody else changes the file meanwhile.
    limit
        Largest size to read, in bytes.
    check
        Raises if the new content must not be written, or (``None``) the file must not be removed.
    create
        Whether to create a missing file, with its folder.
    remove
        Whether to remove the file instead of writing a new text; of a symlink, the link.
    dry_run
        Whether to write nothing; the lock is not taken then.

    Raises
    ------
    FileEditError
        If the file cannot be read or written, or is not TOML.
    """
    target = _target(path)
    attempt = _Attempt(path, target, edit, check, limit, create, remove)
    if dry_run:
        return attempt.outcome(attempt.read())
    try:
        content = attempt.read()
        outcome = attempt.outcome(content)
        if not outcome.changed:
            return outcome
        within(target, lambda: _require_writable(path, target))
        within(target.parent, lambda: _make_folder(target.parent))
        with locked(target):
            return attempt.write(content, outcome)
    except LockedError as error:
        raise FileEditError(f"{path}: {error}") from None
    except OSError as error:
        raise _unwritable(path, target, error) from error


@dataclass(frozen=True, slots=True)
class _Attempt:
    path: Path
    target: Path
    edit: Callable[[str], str]
    check: Callable[[bytes | None], None]
    limit: int
    create: bool
    remove: Callable[[str], bool]

    def read(self) -> bytes | None:
        """Read the content; ``None`` if there is no file, but it may be created."""
        try:
            return within(self.target, lambda: read_regular(self.target, self.limit))
        except FileNotFoundError:
            _require_outside_store(self.path, self.target)
            if self.create:
                return None
            raise _missing(self.path) from None
        except OSError as error:
            raise FileEditError(f"{self.path}: cannot be read: {error.strerror}") from error

    def outcome(self, content: bytes | None) -> FileEdit:
        """Make the edit."""
        content = content or b""
        document = parse_document(content, str(self.path))
        if isinstance(document, Problem):
            raise FileEditError(str(document))
        after = self.edit(document.text)
        if after != document.text and self.remove(after):
            self.check(None)
            return FileEdit(self.target, document.text, "", None)
        mark = codecs.BOM_UTF8 if content.startswith(codecs.BOM_UTF8) else b""
        outcome = FileEdit(self.target, document.text, after, mark + after.encode())
        if outcome.changed:
            self.check(outcome.content)
        return outcome

    def write(self, seen: bytes | None, outcome: FileEdit) -> FileEdit:
        """Write the edit; repeat it if the file changed since it was read.

        Others may ignore the lock, so the content is compared until the last moment.
        """
        for _ in range(_ATTEMPTS):
            content = self.read()
            if content != seen:
                seen, outcome = content, self.outcome(content)
            if not outcome.changed:
                return outcome
            if outcome.content is None:
                if self._current() != content:
                    continue
                within(self.path, self.path.unlink)
                return outcome
            replacement = within(self.target, partial(Replacement, self.target, outcome.content), _WRITE_LIMIT)
            if self._current() == content:
                self._put(replacement)
                return outcome
            within(self.target, replacement.discard)
        raise FileEditError(f"{self.path}: another program keeps writing it; nothing was changed, try again")

    def _current(self) -> bytes | None:
        with contextlib.suppress(FileNotFoundError):
            return within(self.target, lambda: read_regular(self.target, self.limit))
        return None

    def _put(self, replacement: Replacement) -> None:
        try:
            within(self.target, replacement.take_place, _WRITE_LIMIT)
        except NotAnsweringError as error:
            raise FileEditError(
                f"{self.path}: {error.strerror}: whether the edit was made cannot be seen; look once it answers"
            ) from None


def _target(path: Path) -> Path:
    try:
        return within(path, path.resolve)
    except NotAnsweringError as error:
        raise FileEditError(f"{path}: {error.strerror}; mount it again, or unmount it") from None
    except (OSError, RuntimeError):
        raise FileEditError(f"{path}: the symlinks lead nowhere; point them at the file") from None


def _missing(path: Path) -> FileEditError:
    return FileEditError(f"{path}: there is no such file: agentctl add begins one, or --config names another")


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(mode=0o755 if os.geteuid() == 0 else 0o700, parents=True)


def _require_writable(path: Path, target: Path) -> None:
    """Refuse read-only files, even if this user could replace them."""
    _require_outside_store(path, target)
    with contextlib.suppress(FileNotFoundError):
        mode = stat.S_IMODE(target.stat().st_mode)
        # root may write everything, so look at the mode.
        if not os.access(target, os.W_OK) or not mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
            raise FileEditError(
                f"{path}: is read-only (mode {mode:04o}): chmod u+w makes it yours to edit; {_ELSEWHERE}"
            )


def _require_outside_store(path: Path, target: Path) -> None:
    if target.is_relative_to(_NIX_STORE):
        raise FileEditError(
            f"{path} leads to {target} in the Nix store, which is never written: "
            "change services.agentd.settings in the configuration that it is built from, and rebuild"
        )


def _unwritable(path: Path, target: Path, error: OSError) -> FileEditError:
    reason = error.strerror or str(error)
    if error.errno == errno.EBUSY:
        return FileEditError(f"{path}: is a mount of its own and cannot be replaced: mount its folder instead")
    advice = f": {_ELSEWHERE}" if error.errno in _READ_ONLY else ""
    return FileEditError(f"{path}: cannot be written in {target.parent}: {reason}{advice}")
