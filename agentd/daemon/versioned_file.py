"""A file of the state directory in which agentd keeps something for the next one: versioned JSON, replaced whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError


class UnusableError(Exception):
    """What was read is not to be used; the text says why."""


class Versioned(BaseModel):
    """What is in such a file: the version of its format, and what a subclass adds."""

    model_config = ConfigDict(strict=True, extra="ignore")

    v: int


Found = TypeVar("Found", bound=Versioned)


class VersionedFile(Generic[Found]):
    """One such file.

    Parameters
    ----------
    path
        Of it.
    version
        Of the format that is read and written.
    kind
        What is in it.
    """

    def __init__(self, path: Path, version: int, kind: type[Found]) -> None:
        self.path = path
        self.newer = False
        """Whether a newer agentd wrote it: it is left as it is."""
        self._version = version
        self._kind = kind

    def read(self) -> Found | None:
        """Read it; ``None`` if there is none.

        Raises
        ------
        UnusableError
            If it cannot be read, or is of another version or form.
        """
        try:
            data = self.path.read_bytes()
            version = Versioned.model_validate_json(data).v
            self.newer = version > self._version
            if version != self._version:
                by = ": a newer agentd wrote it, and it is left as it is" if self.newer else ""
                raise UnusableError(f"expected version {self._version}, found {version}{by}")
            return self._kind.model_validate_json(data)
        except FileNotFoundError:
            return None
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "the start"
            raise UnusableError(f"{where}: {first['msg']}") from None
        except OSError as error:
            raise UnusableError(str(error)) from error

    def write(self, content: Mapping[str, object]) -> None:
        """Replace it, for its owner's eyes alone; the version is added.

        Raises
        ------
        OSError
            If it cannot be written: it is as it was.
        """
        part = self.path.with_name(f".{self.path.name}.new")
        part.touch(mode=0o600)
        part.write_text(json.dumps({"v": self._version, **content}))
        part.replace(self.path)
