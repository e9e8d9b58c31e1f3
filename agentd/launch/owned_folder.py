"""A folder of the agents' user, which may put anything there and anything in its place, and agentd may be root.

It is opened once, and everything is done relative to that descriptor: files are created exclusively, never through a
link, and read only if they are small regular files.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import structlog

from agentd.files.permissions import is_private

log = structlog.get_logger(__name__)


class RuntimeDirectoryError(RuntimeError):
    """The runtime directory cannot be used; the text says why and what to do."""


class OwnedFolder:
    """The folder, opened by `open`.

    Parameters
    ----------
    path
        Created with mode 0700 if missing.
    owner, group
        Numeric agent user and group.
    """

    def __init__(self, path: Path, owner: int, group: int) -> None:
        self.path = path
        self._owner = owner
        self._group = group
        self._descriptor: int | None = None
        self._said: dict[str, str] = {}
        """What was wrong with which file: said once, for a hint, which anybody can send, asks for another look."""

    def open(self) -> None:
        """Create or check the folder, and open it.

        Raises
        ------
        RuntimeDirectoryError
            If it is not a folder that only its owner can enter.
        """
        try:
            made = self._make()
            folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            raise RuntimeDirectoryError(
                f"expected a folder at {self.path}, or that it can be made: {error.strerror}; remove what is there"
            ) from error
        except OSError as error:
            raise RuntimeDirectoryError(
                f"cannot use {self.path} as a folder: {error.strerror}; remove what is there"
            ) from error
        try:
            if made:
                os.fchown(folder, self._owner, self._group)
            found = os.fstat(folder)
            if not is_private(found, self._owner):
                raise RuntimeDirectoryError(
                    f"expected {self.path} to belong to uid {self._owner} with mode 0700, "
                    f"found uid {found.st_uid} with mode {stat.S_IMODE(found.st_mode):04o}; remove it"
                )
        except BaseException:
            os.close(folder)
            raise
        self.close()
        self._descriptor = folder

    def _make(self) -> bool:
        try:
            self.path.mkdir(mode=0o700)
        except FileExistsError:
            return False
        return True

    @property
    def descriptor(self) -> int:
        """The open folder."""
        assert self._descriptor is not None, "it is opened first"
        return self._descriptor

    def exists(self, name: str) -> bool:
        """Whether there is anything of this name."""
        try:
            os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def create(self, name: str, content: bytes) -> None:
        """Write a file that only the owner can read.

        Raises
        ------
        FileExistsError
            If there is one of this name.
        OSError
            If it cannot be written.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=self.descriptor)
        try:
            os.fchown(descriptor, self._owner, self._group)
            written = os.write(descriptor, content)
            if written != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
        except BaseException:
            self.remove(name)
            raise
        finally:
            os.close(descriptor)

    def create_fifo(self, name: str) -> None:
        """Make a FIFO that only the owner can use.

        Raises
        ------
        OSError
            If it cannot be made.
        """
        os.mkfifo(name, 0o600, dir_fd=self.descriptor)
        os.chown(name, self._owner, self._group, dir_fd=self.descriptor, follow_symlinks=False)

    def remove(self, name: str) -> None:
        """Remove a file; what cannot be removed is logged."""
        try:
            os.unlink(name, dir_fd=self.descriptor)
        except FileNotFoundError:
            pass
        except OSError as error:
            # Only a folder that the agent user put there, which nothing here can mistake for a report.
            log.warning("runtime_file_stays", file=name, error=error.strerror)

    def forget(self, name: str) -> None:
        """Remove a file for good, and forget what was wrong with it."""
        self._said.pop(name, None)
        self.remove(name)

    def read(self, name: str, limit: int) -> tuple[str, float] | None:
        """Read the one line of a regular file, of `limit` bytes at most.

        Returns
        -------
        The line, and when it was written, in seconds since the epoch; ``None`` while it is not there or not whole.
        """
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(name, flags, dir_fd=self.descriptor)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.complain(name, error.strerror or "cannot be opened")
            return None
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                self.complain(name, "not a regular file")
                return None
            if found.st_uid != self._owner:
                # A hard link to what is another's: root would read, and show, what the agent user may not.
                self.complain(name, f"expected a file of uid {self._owner}, found one of uid {found.st_uid}")
                return None
            text = os.read(descriptor, limit).decode("utf-8", "replace")
        finally:
            os.close(descriptor)
        return (text.removesuffix("\n"), found.st_mtime) if text.endswith("\n") else None

    def complain(self, name: str, error: str) -> None:
        """Log what is wrong with a file, once."""
        if self._said.get(name) != error:
            self._said[name] = error
            log.warning("launcher_report_unreadable", file=name, error=error)

    def close(self) -> None:
        """Let go of the folder."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
