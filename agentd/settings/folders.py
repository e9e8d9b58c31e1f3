"""Where a user's configuration, state, data and sockets are by default.

Imported by ``agentctl`` on every start, so nothing slow may be imported here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

SOCKET_PATH_LIMIT = 107
"""Bytes in a Unix socket's path on Linux (``sun_path`` is 108 with its NUL, unix(7))."""


class SettingsError(ValueError):
    """A flag or environment variable that cannot be used; the text names it."""


def drop_in_folder(config: Path) -> Path:
    """Give a jcard's default folder of drop-ins: ``NAME.d`` beside ``NAME.toml``."""
    return config.with_name(f"{config.name.removesuffix('.toml') or config.name}.d")


def holds_text(path: str | Path) -> bool:
    """Whether a path is UTF-8: tmux' commands, JSON and the watching of files take no other."""
    text = str(path)
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def absolute(path: str | Path) -> Path:
    """Make a path absolute without following symlinks, whose target may change.

    Raises
    ------
    SettingsError
        If it is relative, and the current folder was removed.
    """
    try:
        return Path(os.path.abspath(path))  # noqa: PTH100 (Path.resolve would follow symlinks, Path.absolute keeps "..")
    except FileNotFoundError:
        raise SettingsError(
            f"{path} is relative, and the current folder was removed: cd to another one, or give an absolute path"
        ) from None


def runtime_folder(environ: Mapping[str, str]) -> Path:
    """Find the user's folder for sockets: ``XDG_RUNTIME_DIR``, else ``/run/user/UID``, else ``TMPDIR/agentd-UID``.

    The last one may not exist yet, and is created with mode 0700.

    Raises
    ------
    SettingsError
        If the folder in ``TMPDIR`` belongs to another user, who could listen in.
    """
    # platformdirs does not check the owner of /run/user/UID and of its folder in /tmp.
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
    """Give the folder of a user's own workspace templates, which has a folder for each role."""
    return xdg_folder("XDG_CONFIG_HOME", environ) / "agentd" / "roles"


_BELOW_HOME = {"XDG_DATA_HOME": ".local/share", "XDG_CONFIG_HOME": ".config", "XDG_STATE_HOME": ".local/state"}

FOLDER_VARIABLES = ("XDG_RUNTIME_DIR", *_BELOW_HOME)
"""What says where a user's folders are."""


def xdg_folder(variable: str, environ: Mapping[str, str]) -> Path:
    """Give a folder of the XDG specification.

    Parameters
    ----------
    variable
        ``XDG_DATA_HOME``, ``XDG_CONFIG_HOME``, ``XDG_STATE_HOME`` or ``XDG_RUNTIME_DIR``.

    Raises
    ------
    SettingsError
        As `home_folder` and `runtime_folder`.
    """
    if variable == "XDG_RUNTIME_DIR":
        return runtime_folder(environ)
    return _absolute(environ.get(variable)) or home_folder(environ) / _BELOW_HOME[variable]


def home_folder(environ: Mapping[str, str]) -> Path:
    """Give the invoking user's home: ``HOME``, else that of the user database.

    Raises
    ------
    SettingsError
        If there is neither.
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


def _absolute(text: str | None) -> Path | None:
    """Give a path of the environment; relative ones are ignored, as the XDG specification says."""
    return Path(text) if text and Path(text).is_absolute() else None


def _is_private(folder: Path, uid: int) -> bool:
    from agentd.files.permissions import is_private  # noqa: PLC0415 (five modules, only where XDG_RUNTIME_DIR is not set)

    try:
        found = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and is_private(found, uid)
