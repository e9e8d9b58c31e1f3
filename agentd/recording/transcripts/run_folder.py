"""The folder of one run's transcript: its metadata, and the parts of its output.

What stands in ``output`` the agent user may have put there: parts are opened without following links and taken only if
they are regular files of that user with one name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import structlog
from pydantic import ValidationError

from agentd.model.user import AgentUser
from agentd.recording.transcripts.run_metadata import RunMetadata, dump_metadata, parse_metadata

log = structlog.get_logger(__name__)

_REMOVED = ".removed.json"
"""The metadata of a run that is being removed."""
OUTPUT, NEWEST, ACCOUNT = "output", "output.log", "run.json"
PART_DIGITS = 6
_PART = re.compile(rf"[0-9]{{{PART_DIGITS}}}")
_MOST_PARTS = 10_000
"""Names that are looked at in a folder of the agent user's."""
_LARGEST_METADATA = 4 * 1024 * 1024


class TranscriptError(Exception):
    """There is no such transcript; the text says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a run's output."""

    name: str
    start: int
    """Bytes of the output before it."""
    size: int

    @property
    def number(self) -> int:
        """Counted from the first part of the run."""
        return int(self.name)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run."""

    path: Path
    owner: AgentUser

    @property
    def agent(self) -> str:
        """The agent's name."""
        return sys.intern(self.path.parent.parent.name)

    @property
    def number(self) -> int:
        """The run's number."""
        return int(self.path.name)

    @property
    def output(self) -> Path:
        """The folder of its parts."""
        return self.path / OUTPUT

    @property
    def whole(self) -> bool:
        """Whether it was made, and nothing of it removed."""
        return (self.path / ACCOUNT).exists()

    @property
    def cut_off(self) -> bool:
        """Whether a daemon was killed while it made or removed it: then nothing can come of what there is."""
        return (self.path / _REMOVED).exists() or not self.parts_there_are()

    def create(self, metadata: RunMetadata) -> None:
        """Make it, with everything but the parts.

        Raises
        ------
        FileExistsError
            If it is there already.
        OSError
            If it cannot be made; nothing of it is left then.
        """
        self.path.mkdir(mode=0o700)
        try:
            admit(self.owner, self.path)
            self.output.mkdir(mode=0o700)
            if self.owner.switch:
                os.chown(self.output, self.owner.uid, self.owner.gid)
            self.write(metadata)
            (self.path / NEWEST).symlink_to(f"{OUTPUT}/{0:0{PART_DIGITS}}")
        except BaseException:
            self.remove()
            raise

    def read(self) -> RunMetadata:
        """Read what is known of the run.

        Raises
        ------
        TranscriptError
            If that is missing or damaged.
        """
        path = self.path / ACCOUNT
        try:
            with path.open("rb") as file:
                return parse_metadata(file.read(_LARGEST_METADATA))
        except FileNotFoundError:
            raise TranscriptError(f"there is no {path}") from None
        except OSError as error:
            raise TranscriptError(f"cannot read {path}: {error.strerror}") from error
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]["msg"]
            raise TranscriptError(f"{path} is damaged: {problem}") from None

    def write(self, metadata: RunMetadata) -> None:
        """Replace what is known of the run, whole or not at all."""
        part = self.path / f".{ACCOUNT}.part"
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(dump_metadata(metadata) + b"\n")
            part.rename(self.path / ACCOUNT)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()
            raise

    def parts(self, metadata: RunMetadata) -> list[Part]:
        """List the parts that are kept, in order."""
        return self._parts(metadata.dropped, metadata.first_part)

    def parts_there_are(self) -> list[Part]:
        """List the parts whatever the metadata says, in order."""
        return self._parts(0, 0)

    def _parts(self, start: int, first: int) -> list[Part]:
        try:
            folder = self._open_output()
        except OSError:
            return []
        try:
            with os.scandir(folder) as entries:
                names = sorted(
                    entry.name
                    for entry in islice(entries, _MOST_PARTS)
                    if _PART.fullmatch(entry.name) and int(entry.name) >= first and entry.is_file(follow_symlinks=False)
                )
            found = []
            for name in names:
                try:
                    size = os.stat(name, dir_fd=folder, follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue
                found.append(Part(name, start, size))
                start += size
            return found
        finally:
            os.close(folder)

    def _open_output(self) -> int:
        return os.open(self.output, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def open_part(self, name: str, flags: int = os.O_RDONLY) -> BinaryIO:
        """Open a part that really is one.

        Raises
        ------
        OSError
            If it is not there, or something else that the agent user put there.
        """
        folder = self._open_output()
        try:
            descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        finally:
            os.close(folder)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != self.owner.uid or found.st_nlink != 1:
            os.close(descriptor)
            raise OSError(errno.EPERM, f"expected a regular file of uid {self.owner.uid} with one name", name)
        return os.fdopen(descriptor, "wb" if flags & os.O_ACCMODE == os.O_WRONLY else "rb", buffering=0)

    def read_part(self, part: Part, offset: int, limit: int) -> bytes:
        """Read `limit` bytes from an offset of the whole output, as far as the part goes; none if it cannot be read."""
        try:
            with self.open_part(part.name) as file:
                return os.pread(file.fileno(), limit, offset - part.start)
        except OSError:
            return b""

    def cut(self, parts: Sequence[Part], end: int) -> None:
        """Take away what stands after the offset `end` of the whole output."""
        # The last ones first: where the end was is known only as long as its mark stands in the first of them.
        for part in reversed(parts):
            if part.start + part.size <= end:
                break
            if part.start >= end and part is not parts[0]:
                self.remove_part(part.name)
                continue
            with contextlib.suppress(OSError), self.open_part(part.name, os.O_WRONLY) as file:
                file.truncate(max(0, end - part.start))

    def remove_part(self, name: str) -> None:
        """Remove a part, whatever stands there in its place."""
        try:
            folder = self._open_output()
        except FileNotFoundError:
            return
        try:
            os.unlink(name, dir_fd=folder)
        except (FileNotFoundError, IsADirectoryError):
            return
        finally:
            os.close(folder)

    def point_at(self, name: str) -> None:
        """Let ``output.log`` be this part."""
        link, target = self.path / NEWEST, f"{OUTPUT}/{name}"
        with contextlib.suppress(OSError):
            if str(link.readlink()) == target:
                return
        part = self.path / f".{NEWEST}.part"
        part.unlink(missing_ok=True)
        part.symlink_to(target)
        part.rename(link)

    def drop(self, metadata: RunMetadata, parts: Sequence[Part]) -> RunMetadata:
        """Remove parts at the beginning; what is left keeps its offsets, even if this is interrupted.

        Raises
        ------
        OSError
            If the metadata cannot be written.
        """
        dropped = metadata.dropped + sum(part.size for part in parts)
        metadata = metadata.without(dropped, max(part.number for part in parts) + 1)
        try:
            self.write(metadata)
        except OSError:
            # A full disk may have room for it once they are gone.
            self.remove_dropped(metadata)
            self.write(metadata)
        self.remove_dropped(metadata)
        return metadata

    def remove_dropped(self, metadata: RunMetadata) -> None:
        """Remove the parts that are not kept any more, as far as the folder lets us."""
        for part in self.parts_there_are():
            if part.number < metadata.first_part:
                try:
                    self.remove_part(part.name)
                except OSError as error:
                    log.warning("transcript_part_stays", part=str(self.output / part.name), reason=error.strerror)

    def remove(self) -> None:
        """Remove the whole run, without following any link."""
        # First, so that what is left of an interrupted removal is no run any more, and known as that.
        with contextlib.suppress(OSError):
            (self.path / ACCOUNT).rename(self.path / _REMOVED)
        shutil.rmtree(self.path, ignore_errors=True)


def admit(user: AgentUser, folder: Path) -> None:
    """Let the user, if it is another one, enter a folder that it can neither list nor change."""
    if user.switch:
        os.chown(folder, -1, user.gid)
        folder.chmod(0o710)
