"""What the daemon is told by flags, environment and defaults; the client finds the sockets by the same table.

Imported by ``agentctl`` on every start, so nothing slow may be imported here.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from agentd.settings.flags import INTERVAL, OPTIONS, TRANSCRIPTS, LogFormat, OnShutdown
from agentd.settings.limits import SOCKET_PATH_LIMIT

SHORTEST_INTERVAL = 0.1
"""Seconds; a resync more often than this is a busy loop."""


class SettingsError(ValueError):
    """A flag or environment variable that cannot be used; the text names it."""


_INTERVAL_SECONDS, _TRANSCRIPTS_BYTES = 5.0, 2 << 30
"""What `INTERVAL` and `TRANSCRIPTS` say: reading durations costs agentctl 4 ms."""
SMALLEST_TRANSCRIPTS = 1 << 20
"""Bytes; less would keep next to nothing of each run."""
_OFF = "off"

_COUNT = re.compile(r"[1-9][0-9]{0,5}")

_BY_FIELD = {option.field: option for option in OPTIONS}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the daemon runs with; every path is absolute."""

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
    """Bytes of what agents print that are kept in all; ``None``: nothing is recorded."""
    interval: float
    """Seconds between two resyncs."""
    launch_concurrency: int
    on_shutdown: OnShutdown
    log_format: LogFormat | None
    """``None``: console on a terminal, JSON otherwise."""
    debug: bool


def default_settings(environ: Mapping[str, str], root: bool) -> Settings:
    """Give the settings of a command without flags.

    Raises
    ------
    SettingsError
        If an environment variable cannot be used.
    """
    return resolve_settings({}, environ, root)


def resolve_settings(
    flags: Mapping[str, str], environ: Mapping[str, str], root: bool, *, debug: bool = False
) -> Settings:
    """Settle every setting: a flag wins over the environment, which wins over the default.

    Parameters
    ----------
    flags
        The flags that were given, as text, by the name of the `Settings` attribute.
    environ
        The environment; an empty variable counts as unset.
    root
        Whether the defaults of root hold.

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


def drop_in_folder(config: Path) -> Path:
    """Give the default folder of the drop-ins of a jcard: ``NAME.d`` beside ``NAME.toml``."""
    return config.with_name(f"{config.name.removesuffix('.toml') or config.name}.d")


def absolute(path: str | Path) -> Path:
    """Make a path that was typed absolute; symlinks stay, so that what they lead to may change.

    Raises
    ------
    SettingsError
        If it is relative, and the working folder is gone.
    """
    try:
        return Path(os.path.abspath(path))  # noqa: PTH100 (Path.resolve would follow symlinks, Path.absolute keeps "..")
    except FileNotFoundError:
        raise SettingsError(
            f"{path} is relative, and the folder that it starts at was removed: cd to another one, or give a whole path"
        ) from None


def runtime_folder(environ: Mapping[str, str]) -> Path:
    """Find the user's folder for sockets: ``XDG_RUNTIME_DIR``, else ``/run/user/UID``, else ``TMPDIR/agentd-UID``.

    The last of them may not exist yet; whoever makes it uses mode 0700.

    Raises
    ------
    SettingsError
        If the folder under the temporary folder belongs to somebody else, who could then listen in.
    """
    # platformdirs takes /run/user/UID and its own name in /tmp without a look at their owner, and reads only the
    # environment of the process.
    if (folder := _absolute(environ.get("XDG_RUNTIME_DIR"))) is not None:
        return folder
    uid = os.geteuid()
    logind = Path(f"/run/user/{uid}")
    if _is_private(logind, uid):
        return logind
    temporary = _absolute(environ.get("TMPDIR")) or Path("/tmp")  # noqa: S108 (owner and mode are checked)
    fallback = temporary / f"agentd-{uid}"
    if os.path.lexists(fallback) and not _is_private(fallback, uid):
        raise SettingsError(
            f"{fallback} must be a folder of user {uid} with mode 0700, and is not: "
            "set XDG_RUNTIME_DIR, or give --api-socket and --tmux-socket"
        )
    return fallback


def templates_folder(environ: Mapping[str, str]) -> Path:
    """Find the folder with a user's own templates of workspaces, a folder for each role."""
    return _config_folder(environ) / "agentd" / "roles"


def _config_folder(environ: Mapping[str, str]) -> Path:
    return _absolute(environ.get("XDG_CONFIG_HOME")) or home_folder(environ) / ".config"


def _state_folder(environ: Mapping[str, str]) -> Path:
    return _absolute(environ.get("XDG_STATE_HOME")) or home_folder(environ) / ".local" / "state"


def _data_folder(environ: Mapping[str, str]) -> Path:
    return _absolute(environ.get("XDG_DATA_HOME")) or home_folder(environ) / ".local" / "share"


_FOLDERS = {
    "$XDG_DATA_HOME": _data_folder,
    "$XDG_CONFIG_HOME": _config_folder,
    "$XDG_STATE_HOME": _state_folder,
    "$XDG_RUNTIME_DIR": runtime_folder,
}


def home_folder(environ: Mapping[str, str]) -> Path:
    """Give the invoking user's home: ``HOME``, else what the user database says.

    Raises
    ------
    SettingsError
        If neither is set.
    """
    if (home := _absolute(environ.get("HOME"))) is not None:
        return home
    import pwd  # noqa: PLC0415 (only without HOME)

    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        raise SettingsError(
            f"HOME is not set and user {os.geteuid()} has no entry in the user database: set HOME"
        ) from None


@dataclass(frozen=True, slots=True)
class _Given:
    flags: Mapping[str, str]
    environ: Mapping[str, str]
    root: bool

    def _explicit(self, field: str) -> tuple[str, str] | None:
        """Give what was said about a setting, and where: the flag or the variable."""
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
        """Give what was said, else the default."""
        explicit = self._explicit(field)
        return self._default(field) if explicit is None else explicit[0]

    def path(self, field: str) -> Path:
        explicit = self._explicit(field)
        if explicit is not None:
            text = explicit[0]
            # A shell leaves the ~ of --flag=~/x alone, and a unit's Environment= has no shell.
            in_home = text == "~" or text.startswith("~/")
            return absolute(home_folder(self.environ) / text[2:] if in_home else text)
        default = self._default(field)
        folder, _, rest = default.partition("/")
        return _FOLDERS[folder](self.environ) / rest if folder in _FOLDERS else Path(default)

    def socket(self, field: str) -> Path:
        path = self.path(field)
        length = len(os.fsencode(path))
        if length > SOCKET_PATH_LIMIT:
            explicit = self._explicit(field)
            source = _BY_FIELD[field].flag if explicit is None else explicit[1]
            raise SettingsError(
                f"{source}: a socket's path may have at most {SOCKET_PATH_LIMIT} bytes, {path} has {length}: shorten it"
            )
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


def _absolute(text: str | None) -> Path | None:
    """Give a folder of the environment; the XDG specification says to ignore relative ones."""
    return Path(text) if text and Path(text).is_absolute() else None


def _is_private(folder: Path, uid: int) -> bool:
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == uid and not found.st_mode & 0o077
