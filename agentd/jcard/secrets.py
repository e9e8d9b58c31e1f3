"""Read secrets: one file each, named as the environment variable. No message and no repr shows a value."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from agentd.files.answering import NotAnsweringError
from agentd.files.regular import read_regular, without_mark
from agentd.jcard.problems import LoadResult
from agentd.jcard.trigger_tables import webhook_secrets
from agentd.model.notification import NotifyRule
from agentd.model.spec import ENVIRONMENT_NAME, OWN_VARIABLE_PREFIX, AgentSpec
from agentd.model.telemetry import Telemetry
from agentd.text.quoting import printable, quote, some

_LARGEST: Final = 128 * 1024
"""Bytes of ``NAME=value`` with its final NUL that Linux passes to a program (MAX_ARG_STRLEN)."""

_VARIABLE: Final = re.compile(ENVIRONMENT_NAME)


@dataclass(frozen=True, slots=True)
class Secrets:
    """The content of the secret directory."""

    values: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    warnings: tuple[str, ...] = ()
    """The skipped files and why, never their content."""
    unknown: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Why the value of a secret is unknown, by name: its file does not answer, and was never read."""
    unlisted: str | None = None
    """Why the directory could not be listed."""
    withheld: frozenset[str] = frozenset()
    """Those that reach only agents that list them."""


class _SkippedError(Exception):
    """A file is not a usable secret; the message says why."""


def secret_paths(folder: Path) -> list[Path] | Secrets:
    """List the possible secrets in a directory; the result itself if it cannot be listed.

    Hidden files and folders are skipped silently, other unusable ones with a warning. A missing directory has no
    secrets. Never raises because of what is on the disk.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return Secrets()
    except OSError as error:
        return Secrets(warnings=(f"secret directory {printable(str(folder))}: {error.strerror}; no secrets are used",))


def read_secret(path: Path) -> str | OSError | None:
    """Read one secret; an error says why it is skipped, ``None`` stands for a folder."""
    if os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises where a symlink leads into an unreadable folder)
        return None
    try:
        return _read_secret(path)
    except _SkippedError as error:
        return OSError(None, str(error))


def secrets_of(found: Mapping[Path, str | OSError | None], last: Secrets | None = None) -> Secrets:
    """Combine what was read; if a file does not answer, its last value stays in force.

    Parameters
    ----------
    found
        The value, the reason to skip it, or ``None`` for a folder, by path.
    last
        What was read before.
    """
    values: dict[str, str] = {}
    warnings: list[str] = []
    unknown: dict[str, str] = {}
    for path, answer in found.items():
        name, place = path.name, f"secret file {printable(str(path))}"
        if isinstance(answer, str):
            values[name] = answer
        elif isinstance(answer, NotAnsweringError):
            if last is not None and name in last.values:
                values[name] = last.values[name]
                warnings.append(f"{place}: {answer.strerror}; its last value stays in force")
            else:
                unknown[name] = f"{place}: {answer.strerror}"
        elif answer is not None:
            warnings.append(f"{place} skipped: {answer.strerror}")
    return Secrets(MappingProxyType(values), (*warnings, *unknown.values()), MappingProxyType(unknown))


def secrets_unlisted(folder: Path, error: NotAnsweringError, last: Secrets | None) -> Secrets:
    """Give the secrets if the directory does not answer: the last ones stay in force.

    Parameters
    ----------
    last
        What was read before.
    """
    reason = f"secret directory {printable(str(folder))}: {error.strerror}"
    if last is None or last.unlisted is not None:
        return Secrets(warnings=(reason,), unlisted=reason)
    return replace(last, warnings=(f"{reason}; what it held last stays in force",))


def unknown_secret(spec: AgentSpec, secrets: Secrets) -> str | None:
    """Say why an agent cannot be launched now: the value of one of its secrets is unknown."""
    if secrets.unlisted is not None:
        return None if spec.secrets == () and not _egress_names(spec) else secrets.unlisted
    listed = secrets.unknown.keys() - secrets.withheld if spec.secrets is None else spec.secrets
    names = (*listed, *_egress_names(spec))
    return next((secrets.unknown[name] for name in names if name in secrets.unknown and name not in spec.env), None)


def secrets_for(spec: AgentSpec, secrets: Secrets) -> Mapping[str, str]:
    """Select the secrets that reach an agent: all but those withheld, or only those it lists."""
    if spec.secrets is None:
        if secrets.withheld.isdisjoint(secrets.values):
            return secrets.values
        return {name: value for name, value in secrets.values.items() if name not in secrets.withheld}
    return {name: secrets.values[name] for name in spec.secrets if name in secrets.values}


def egress_secrets_for(spec: AgentSpec, secrets: Secrets) -> Mapping[str, str]:
    """Select the secrets that an agent uses without reading them."""
    names = [name for name in _egress_names(spec) if name not in spec.env]
    return {name: secrets.values[name] for name in names if name in secrets.values}


def _egress_names(spec: AgentSpec) -> list[str]:
    return [secret.name for secret in spec.sandbox.egress_secrets]


def withheld_secrets(contents: Iterable[LoadResult]) -> frozenset[str]:
    """Name the secrets that are not for agents.

    With one of the gateway's an agent could act as people do, or as the gateway at a broker; with one for a collector
    it could send there what it likes; with one of a webhook it could start others.
    """
    return frozenset(
        name
        for each in contents
        for name in (
            *each.gateway_secrets,
            *headers_of(each.telemetry),
            *webhook_secrets(trigger for agent in each.agents for trigger in agent.triggers),
        )
    )


def headers_of(telemetry: Telemetry | None) -> frozenset[str]:
    """Name the secrets that are sent to a collector."""
    return frozenset() if telemetry is None else frozenset(secret for _, secret in telemetry.headers)


def missing_secrets(
    specs: Iterable[AgentSpec], secrets: Secrets, keys_of: Callable[[str], Sequence[str]] = lambda _: ()
) -> tuple[str, ...]:
    """Warn of each secret that an enabled agent lists and that does not exist.

    Parameters
    ----------
    keys_of
        Names the keys of a harness, of which one is enough. Of an agent that lists all of them, as those that users
        make do, one is missing, and only if none exists.
    """
    wanted: dict[str, list[str]] = {}
    if secrets.unlisted is not None:
        return ()
    for spec in specs:
        listed = [*(spec.secrets or ()), *_egress_names(spec)]
        keys = keys_of(spec.harness)
        if len(keys) > 1 and set(keys) <= set(listed):
            enough = any(key in secrets.values or key in secrets.unknown for key in keys)
            spared = set(keys) if enough else set(keys[1:])
            listed = [name for name in listed if name not in spared]
        for name in listed:
            if spec.enabled and name not in secrets.values and name not in secrets.unknown:
                wanted.setdefault(name, []).append(spec.name)
    return tuple(
        f"secret {quote(name)} does not exist; listed by agent {some(names, quote)}"
        for name, names in sorted(wanted.items())
    )


def missing_signatures(rules: Iterable[NotifyRule], secrets: Secrets) -> tuple[str, ...]:
    """Warn of each secret that notices are to be signed with and that does not exist."""
    if secrets.unlisted is not None:
        return ()
    named = sorted({rule.secret for rule in rules if rule.secret is not None})
    missing = (name for name in named if name not in secrets.values and name not in secrets.unknown)
    return tuple(f"secret {quote(name)} does not exist; [[notify]] signs with it" for name in missing)


def missing_headers(telemetry: Telemetry | None, secrets: Secrets) -> tuple[str, ...]:
    """Warn of each secret that is to be sent to a collector and that does not exist."""
    if secrets.unlisted is not None:
        return ()
    named = sorted(headers_of(telemetry))
    missing = (name for name in named if name not in secrets.values and name not in secrets.unknown)
    return tuple(f"secret {quote(name)} does not exist; [otel] sends it in a header" for name in missing)


def _read_secret(path: Path) -> str:
    if not _VARIABLE.fullmatch(path.name):
        raise _SkippedError(
            "its name is no environment variable name (letters, digits and _, not beginning with a digit)"
        )
    if path.name.startswith(OWN_VARIABLE_PREFIX):
        raise _SkippedError(f"names that begin with {OWN_VARIABLE_PREFIX} belong to agentd")
    try:
        # Room for trailing newlines, which do not count.
        value = _without_trailing_newlines(without_mark(read_regular(path, 2 * _LARGEST)).decode("utf-8"))
    except UnicodeDecodeError as error:
        # The decoder's message repeats part of the content.
        raise _SkippedError(f"not UTF-8 (byte {error.start + 1})") from None
    except OSError as error:
        raise _SkippedError(error.strerror) from error
    if "\0" in value:
        raise _SkippedError("it contains a NUL character")
    if len(f"{path.name}={value}\0".encode()) > _LARGEST:
        raise _SkippedError("larger than the 128 KiB that one environment variable can hold")
    return value


def _without_trailing_newlines(text: str) -> str:
    end = len(text)
    while end and text[end - 1] == "\n":
        end -= 2 if text[end - 2 : end - 1] == "\r" else 1
    return text[:end]
