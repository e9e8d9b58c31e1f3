"""Secrets: one file each, by the name of the environment variable. Values appear in no message and no repr."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from agentd.jcard.quoting import printable, quote, some
from agentd.jcard.regular_files import read_regular, without_mark
from agentd.jcard.spec import ENVIRONMENT_NAME, OWN_VARIABLE_PREFIX, AgentSpec

_LARGEST: Final = 128 * 1024
"""Bytes of ``NAME=value`` with its final NUL that Linux passes to a program (MAX_ARG_STRLEN)."""

_VARIABLE: Final = re.compile(ENVIRONMENT_NAME)


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the secret directory holds."""

    values: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    warnings: tuple[str, ...] = ()
    """The files that were skipped and why, never their content."""


class _SkippedError(Exception):
    """A file that is no secret; the text says why."""


def read_secrets(folder: Path) -> Secrets:
    """Read every secret of a directory.

    Hidden files and folders are skipped silently, everything else that is no usable secret with a warning.
    A missing directory holds no secrets. Raises nothing for what may be on the disk.
    """
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return Secrets()
    except OSError as error:
        return Secrets(warnings=(f"secret directory {printable(str(folder))}: {error.strerror}; no secrets are used",))
    values: dict[str, str] = {}
    warnings: list[str] = []
    for path in paths:
        if path.name.startswith(".") or os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises where a symlink leads into an unreadable folder)
            continue
        try:
            values[path.name] = _read_secret(path)
        except _SkippedError as error:
            warnings.append(f"secret file {printable(str(path))} skipped: {error}")
    return Secrets(MappingProxyType(values), tuple(warnings))


def secrets_for(spec: AgentSpec, secrets: Secrets) -> Mapping[str, str]:
    """Select the secrets that reach an agent: all, or only those it lists."""
    if spec.secrets is None:
        return secrets.values
    return {name: secrets.values[name] for name in spec.secrets if name in secrets.values}


def missing_secrets(specs: Iterable[AgentSpec], secrets: Secrets) -> tuple[str, ...]:
    """Warn of each secret that an enabled agent lists and that does not exist."""
    wanted: dict[str, list[str]] = {}
    for spec in specs:
        for name in spec.secrets or ():
            if spec.enabled and name not in secrets.values:
                wanted.setdefault(name, []).append(spec.name)
    return tuple(
        f"secret {quote(name)} does not exist; listed by agent {some(names)}" for name, names in sorted(wanted.items())
    )


def _read_secret(path: Path) -> str:
    if not _VARIABLE.fullmatch(path.name):
        msg = "its name is no environment variable name (letters, digits and _, not beginning with a digit)"
        raise _SkippedError(msg)
    if path.name.startswith(OWN_VARIABLE_PREFIX):
        msg = f"names that begin with {OWN_VARIABLE_PREFIX} belong to agentd"
        raise _SkippedError(msg)
    try:
        # A little more than fits, for trailing newlines that do not count.
        value = _without_trailing_newlines(without_mark(read_regular(path, 2 * _LARGEST)).decode("utf-8"))
    except UnicodeDecodeError as error:
        # The decoder's own text repeats a byte of the content.
        msg = f"not UTF-8 (byte {error.start + 1})"
        raise _SkippedError(msg) from None
    except OSError as error:
        raise _SkippedError(error.strerror) from error
    if "\0" in value:
        msg = "it contains a NUL character"
        raise _SkippedError(msg)
    if len(f"{path.name}={value}\0".encode()) > _LARGEST:
        msg = "larger than the 128 KiB that one environment variable can hold"
        raise _SkippedError(msg)
    return value


def _without_trailing_newlines(text: str) -> str:
    end = len(text)
    while end and text[end - 1] == "\n":
        end -= 2 if text[end - 2 : end - 1] == "\r" else 1
    return text[:end]
