"""One run on disk, as the thread of transcripts knows it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from agentd.recording.transcripts.files import Part, RunFolder
from agentd.recording.transcripts.marks import find_end
from agentd.recording.transcripts.run_metadata import RunMetadata
from agentd.text.timestamps import rfc3339_milliseconds

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class RunOnDisk:
    """A run's folder and what is known of the run."""

    folder: RunFolder
    metadata: RunMetadata

    def parts(self) -> list[Part]:
        """List the parts that are kept, in order."""
        return self.folder.parts(self.metadata)

    def printed(self, parts: Sequence[Part] | None = None) -> int:
        """Give how much the run has printed so far, in bytes."""
        parts = self.parts() if parts is None else parts
        return parts[-1].start + parts[-1].size if parts else self.metadata.dropped

    def find_end(self, *, thoroughly: bool) -> int | None:
        """Give the offset at which the run's output ends, if its launcher has said so."""
        return find_end(self.folder, self.metadata.run_id, self.parts(), thoroughly=thoroughly)

    def last_written(self, parts: Sequence[Part]) -> str | None:
        """Give when something was written last; RFC 3339."""
        if not parts:
            return None
        try:
            with self.folder.open_part(parts[-1].name) as file:
                return rfc3339_milliseconds(os.fstat(file.fileno()).st_mtime)
        except OSError:
            return None

    def drop(self, parts: list[Part], count: int, lock: contextlib.AbstractContextManager[object]) -> list[Part]:
        """Remove the first parts, so many of them; give those that are left."""
        if count <= 0:
            return parts
        try:
            with lock:
                self.metadata = self.folder.drop(self.metadata, parts[:count])
        except OSError as error:
            log.warning("transcript_not_trimmed", folder=str(self.folder.path), reason=error.strerror)
            return parts
        return parts[count:]
