"""What an agent's programs need of places that its sandbox hides, such as a home: shown read-only."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from agentd.files.links import Look
from agentd.sandbox.rules import Access, Rule

_MODULES: Final = "node_modules"
_FILES: Final = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NIX_SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO"),
    *("NODE_EXTRA_CA_CERTS", "LOCALE_ARCHIVE", "TZDIR"),
)
"""Variables that name certificates, locales and time zones."""


Follow = Callable[[Path, Look], Path]


def program_rules(
    program: str,
    environment: Mapping[str, str],
    workdir: Path,
    missed: Callable[[Path], bool],
    too_much: Callable[[Path], bool],
    follow: Follow,
) -> list[Rule]:
    """Say what to show for one command.

    Parameters
    ----------
    program
        The first word of the command.
    missed
        Whether the sandbox hides a path that its user may use outside.
    too_much
        Whether a folder holds what is hidden for good, so that it is not shown as a whole.
    follow
        Resolves a path; fails where agents decide what it leads to.
    """
    folders = [Path(each) for each in environment.get("PATH", "").split(":") if each.startswith("/")]
    wanted = [path for folder in folders for path in _prefix(folder, follow)]
    wanted += [path for name in _FILES if (path := Path(environment.get(name, ""))).is_absolute()]
    wanted += _program(program, folders, workdir, follow)
    rules: dict[Path, Rule] = {}

    def show_link(step: Path, entry: os.stat_result) -> None:
        if stat.S_ISLNK(entry.st_mode) and missed(step):
            rules[step] = Rule(step, Access.LINK, step.readlink())

    for path in dict.fromkeys(wanted):
        # What leads nowhere is of no use to the agent either.
        with contextlib.suppress(OSError):
            at = follow(path, show_link)
            if missed(at) and not too_much(at):
                rules.setdefault(at, Rule(at, Access.READ))
    # A link in a folder that is shown is seen with that.
    return [
        rule
        for rule in rules.values()
        if rule.access is not Access.LINK or not any(folder in rule.path.parents for folder in rules)
    ]


def _there(path: Path, follow: Follow) -> Path | None:
    try:
        return follow(path, lambda _step, _entry: None)
    except OSError:
        return None


def _prefix(folder: Path, follow: Follow) -> Iterator[Path]:
    """A folder of the PATH, with the libraries of a virtual environment or of npm beside it."""
    there = _there(folder, follow)
    if there is None or not there.is_dir():
        return
    yield folder
    if (folder.parent / "pyvenv.cfg").is_file():
        yield folder.parent
    elif (folder.parent / "lib" / _MODULES).is_dir():
        yield folder.parent / "lib"


def _program(program: str, folders: list[Path], workdir: Path, follow: Follow) -> Iterator[Path]:
    """The program, and the package that it is a part of."""
    places = [workdir] if "/" in program else folders
    at = next((path for folder in places if os.path.lexists(path := folder / program)), None)
    file = None if at is None else _there(at, follow)
    if at is None or file is None:
        return
    yield at
    if _MODULES in file.parts:
        yield Path(*file.parts[: file.parts.index(_MODULES) + 1])
        return
    home = file.parent.parent
    if file.parent.name == "bin" and (home / "pyvenv.cfg").is_file():
        yield home
        python = _there(home / "bin" / "python", follow)
        if python is not None:
            yield python.parent.parent
        return
    yield file.parent
