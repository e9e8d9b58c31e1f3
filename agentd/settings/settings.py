"""The daemon's settings, from flags, environment and defaults; the client finds the sockets by the same table.

Imported by ``agentctl`` on every start, so nothing slow may be imported here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from agentd.settings.flags import INTERVAL, OPTIONS, TRANSCRIPTS, LogFormat, OnShutdown
from agentd.settings.folders import (
    SOCKET_PATH_LIMIT,
    SettingsError,
    absolute,
    drop_in_folder,
    holds_text,
    home_folder,
    xdg_folder,
)

SHORTEST_INTERVAL = 0.1
"""Seconds; shorter would be a busy loop."""


_INTERVAL_SECONDS, _TRANSCRIPTS_BYTES = 5.0, 2 << 30
"""Values of `INTERVAL` and `TRANSCRIPTS`: parsing them would cost agentctl 4 ms."""
SMALLEST_TRANSCRIPTS = 1 << 20
"""Bytes; less would keep hardly anything of each run."""
_OFF = "off"

_COUNT = re.compile(r"[1-9][0-9]{0,5}")

_BY_FIELD = {option.field: option for option in OPTIONS}


@dataclass(frozen=True, slots=True)
class Runsc:
    """Where sandboxes by gVisor are made, by flags that are the Go agentd's."""

    path: Path | None = None
    """``None`` to look for it on the PATH."""
    state_dir: Path | None = None
    """``None`` to have runsc's state beside the bundle."""
    bundle_dir: Path | None = None
    """``None`` for the runtime directory."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of the daemon; every path is absolute."""

    config: Path
    config_dir: Path
    """Folder of the drop-ins."""
    secret_dir: Path
    tmux_socket: Path
    api_socket: Path
    state_dir: Path
    data_dir: Path | None
    """``None``: `agentd.settings.context.resolve_data_dir` decides."""
    agent_user: str | None
    """``None``: `agentd.settings.context.resolve_agent_user` decides."""
    admin_group: str | None
    """``None``: as root ``admin`` if that group exists, else no group."""
    transcripts: int | None
    """Limit of all transcripts, in bytes; ``None`` records nothing."""
    interval: float
    """Seconds between resyncs."""
    launch_concurrency: int
    on_shutdown: OnShutdown
    log_format: LogFormat | None
    """``None``: console on a terminal, JSON otherwise."""
    debug: bool
    runsc: Runsc = Runsc()


def resolve_settings(
    flags: Mapping[str, str], environ: Mapping[str, str], root: bool, *, debug: bool = False
) -> Settings:
    """Resolve every setting: a flag wins over the environment, which wins over the default.

    Parameters
    ----------
    flags
        The given flags as text, by name of the `Settings` attribute.
    environ
        The environment; an empty variable counts as unset.
    root
        Whether to use root's defaults.
    debug
        The flag ``--debug``.

    Raises
    ------
    SettingsError
        If a flag or an environment variable cannot be used.
    """
    given = _Given(flags, environ, root)
    config = given.path("config")
    return Settings(
        config=config,
        config_dir=given.path("config_dir") if given.text("config_dir") else drop_in_folder(config),
        secret_dir=given.path("secret_dir"),
        tmux_socket=given.socket("tmux_socket"),
        api_socket=given.socket("api_socket"),
        state_dir=given.path("state_dir"),
        data_dir=given.path("data_dir") if given.text("data_dir") else None,
        agent_user=given.text("agent_user") or None,
        admin_group=given.text("admin_group") or None,
        transcripts=_transcripts(given.text("transcripts")),
        interval=_interval(given.text("interval")),
        launch_concurrency=_launch_concurrency(given.text("launch_concurrency")),
        on_shutdown=OnShutdown(given.choice("on_shutdown")),
        log_format=LogFormat(given.choice("log_format")) if given.text("log_format") else None,
        debug=debug,
    )


def of_daemon(settings: Settings, config: Path) -> Settings:
    """Give the settings with the jcard that a daemon says it runs, and the drop-ins that belong to that."""
    if config == settings.config:
        return settings
    return replace(settings, config=config, config_dir=drop_in_folder(config))


@dataclass(frozen=True, slots=True)
class _Given:
    flags: Mapping[str, str]
    environ: Mapping[str, str]
    root: bool

    def _explicit(self, field: str) -> tuple[str, str] | None:
        """Give the value of a setting and its source (flag or variable), if it was set."""
        option = _BY_FIELD[field]
        if field in self.flags:
            if not self.flags[field]:
                raise SettingsError(f"{option.flag}: expected a value, found an empty string")
            return self.flags[field], option.flag
        if option.environment is not None and (text := self.environ.get(option.environment)):
            return text, option.environment
        return None

    def _default(self, field: str) -> str:
        option = _BY_FIELD[field]
        return option.as_root if self.root else option.as_user

    def text(self, field: str) -> str:
        """Give the value that was set, else the default."""
        explicit = self._explicit(field)
        return self._default(field) if explicit is None else explicit[0]

    def path(self, field: str) -> Path:
        path = self._path(field)
        if not holds_text(path):
            shown = str(path).encode("utf-8", "backslashreplace").decode()
            raise SettingsError(
                f"{self._source(field)}: expected a path in UTF-8, found {shown}: rename its folder, or name another"
            )
        return path

    def _source(self, field: str) -> str:
        explicit = self._explicit(field)
        return _BY_FIELD[field].flag if explicit is None else explicit[1]

    def _path(self, field: str) -> Path:
        explicit = self._explicit(field)
        if explicit is not None:
            text = explicit[0]
            # Neither a shell (in --flag=~/x) nor systemd (in Environment=) expands it.
            in_home = text == "~" or text.startswith("~/")
            return absolute(home_folder(self.environ) / text[2:] if in_home else text)
        default = self._default(field)
        folder, _, rest = default.partition("/")
        return xdg_folder(folder[1:], self.environ) / rest if folder.startswith("$") else Path(default)

    def socket(self, field: str) -> Path:
        path = self.path(field)
        length = len(os.fsencode(path))
        if length > SOCKET_PATH_LIMIT:
            most = f"a socket path may have at most {SOCKET_PATH_LIMIT} bytes"
            raise SettingsError(f"{self._source(field)}: {most}, {path} has {length}: shorten it")
        return path

    def choice(self, field: str) -> str:
        option = _BY_FIELD[field]
        text = self.text(field)
        if text not in option.choices:
            raise SettingsError(f"{option.flag}: expected {' or '.join(option.choices)}, found {text!r}")
        return text


def _interval(text: str) -> float:
    if text == INTERVAL:
        return _INTERVAL_SECONDS
    from agentd.text.durations import DurationError, parse_duration  # noqa: PLC0415 (agentctl starts faster without)

    try:
        seconds = parse_duration(text)
    except DurationError as error:
        raise SettingsError(f"--interval: {error}") from None
    if seconds < SHORTEST_INTERVAL:
        raise SettingsError(f"--interval: expected at least {SHORTEST_INTERVAL * 1000:.0f}ms, found {text}")
    return seconds


def _transcripts(text: str) -> int | None:
    if text == _OFF:
        return None
    if text == TRANSCRIPTS:
        return _TRANSCRIPTS_BYTES
    from agentd.text.sizes import SizeError, format_size, parse_size  # noqa: PLC0415 (agentctl starts faster without)

    try:
        size = parse_size(text)
    except SizeError as error:
        raise SettingsError(f"--transcripts: {error}, or {_OFF}") from None
    if size < SMALLEST_TRANSCRIPTS:
        raise SettingsError(
            f"--transcripts: expected at least {format_size(SMALLEST_TRANSCRIPTS)} or off, found {text}"
        )
    return size


def _launch_concurrency(text: str) -> int:
    if not _COUNT.fullmatch(text):
        raise SettingsError(f"--launch-concurrency: expected a whole number from 1 to 999999, found {text!r}")
    return int(text)
