"""A file in which a program keeps something for the next one: JSON of a version, replaced as a whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from pydantic import ValidationError

from agentd.files.json_faults import first_fault
from agentd.files.replacing import replace_private, sync_entry

_MOST_BYTES: Final = 16 * 1024 * 1024

Found = TypeVar("Found")


class UnusableError(Exception):
    """What was read is not to be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Format(Generic[Found]):
    """What is in such a file."""

    version: int
    """That is read and written."""
    parse: Callable[[Mapping[str, object]], Found]
    """Makes of a decoded file what is kept in it; raises `ValueError` if it is something else."""
    key: str = "v"
    """What the version is called in the file."""
    unversioned: bool = False
    """Whether this version is written without its number, and a file that names none is of it."""

    def version_of(self, document: Mapping[str, object]) -> int | None:
        """The version that a file names; ``None`` if it names none."""
        found = document.get(self.key)
        return found if type(found) is int else self.version if self.unversioned else None

    def written(self, content: Mapping[str, object]) -> str:
        """The text of a file."""
        return json.dumps(content if self.unversioned else {self.key: self.version, **content})


class VersionedFile(Generic[Found]):
    """One such file.

    Parameters
    ----------
    path
        Of it.
    form
        What is in it.
    """

    def __init__(self, path: Path, form: Format[Found]) -> None:
        self.path = path
        self.newer = False
        """Whether a newer agentd wrote it: it is left as it is."""
        self._form = form

    def read(self) -> Found | None:
        """Read it; ``None`` if there is none.

        Raises
        ------
        UnusableError
            If it cannot be read, or is of another version or form.
        """
        try:
            with self.path.open("rb") as file:
                document: object = json.loads(file.read(_MOST_BYTES))
            if not isinstance(document, dict):
                raise UnusableError(f"expected an object, found {type(document).__name__}")
            version, expected = self._form.version_of(document), self._form.version
            if version is not None and version > expected:
                self.newer = True
                by = "a newer agentd wrote it, and it is left as it is"
                raise UnusableError(f"expected version {expected}, found {version}: {by}")
            if version != expected:
                raise UnusableError(f"expected version {expected}, found {version}")
            return self._form.parse(document)
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise UnusableError(first_fault(error)) from None
        except (OSError, ValueError, RecursionError) as error:
            raise UnusableError(str(error)) from error

    def write(self, content: Mapping[str, object], *, sync: bool) -> None:
        """Replace it, for its owner's eyes alone.

        Parameters
        ----------
        sync
            Whether it is to be on the disk when this returns, which takes 5 ms and more; else it outlives agentd, and
            `sync` has it outlive a power failure.

        Raises
        ------
        OSError
            If it cannot be written: it is as it was.
        """
        replace_private(self.path, self._form.written(content).encode(), sync=sync)

    def sync(self) -> None:
        """Bring to the disk what stands there; raises `OSError` if that is not possible."""
        sync_entry(self.path)
