"""Mark a folder as trusted in the file where a harness keeps that.

The file belongs to the agents' user. It is read only if that user may read it, and written by a script that runs as
that user: so nothing put in its place makes root read or write elsewhere.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from agentd.files.regular import read_regular
from agentd.harness.trust import TrustFile
from agentd.process.runner import Runner, RunnerError
from agentd.text.quoting import shell_quote

_LARGEST: Final = 32 * 1024 * 1024
"""Bytes; claude keeps part of its history in the file."""

_LIMIT: Final = 5.0
"""Seconds that writing it may take."""

_REPLACE: Final = """\
set -eu
umask 077
mkdir -p -- "$1"
cd -- "$1"
trap 'rm -f -- "$3"' EXIT
rm -f -- "$3"
set -C
cat >"$3"
set +C
if [ -e "$2" ]; then chmod -- "$4" "$3"; fi
mv -f -- "$3" "$2"
"""
"""Writes a temporary file beside the target and renames it; noclobber follows no link."""


class TrustError(RuntimeError):
    """Trust cannot be given; the message says why. The file is unchanged."""


def give_trust(runner: Runner, file: TrustFile, path: Path, folder: Path) -> bool:
    """Have a harness trust a folder that agentd created.

    Parameters
    ----------
    runner
        Runs the script as the agents' user.
    file
        The form of the entry.
    folder
        Real path of the folder.

    Returns
    -------
    Whether an entry was added; an existing one stays, even one that denies trust.

    Raises
    ------
    TrustError
        If it cannot be given.
    """
    # A link, as dotfile managers make, stays a link.
    target = Path(os.path.realpath(path))
    try:
        try:
            content = read_regular(target, _LARGEST, runner.reader)
            mode = target.stat().st_mode & 0o777
        except FileNotFoundError:
            content, mode = None, 0o600
        text = file.trusting(content, folder)
    except OSError as error:
        raise TrustError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise TrustError(f"{path} is left alone: expected JSON as the harness writes it: {error}") from error
    if text is None:
        return False
    words = (str(target.parent), target.name, f".{target.name}.agentd", f"{mode:o}")
    script = b"set -- " + b" ".join(shell_quote(word) for word in words) + b"\n" + _REPLACE.encode()
    try:
        done = runner.run(["/bin/sh", "-c", os.fsdecode(script)], stdin=text, limit=_LIMIT)
    except RunnerError as error:
        raise TrustError(f"{path} cannot be written: {error}") from error
    if done.status != 0:
        raise TrustError(f"{path} cannot be written as user {runner.user.name}: {done.reason}")
    return True
