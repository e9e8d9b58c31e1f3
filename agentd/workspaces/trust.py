"""Telling a program that a folder is trusted, in the file where the program keeps that.

The file is the agents' user's. It is read as that user may read it and written by a script run as that user, so nothing
that is put in its place makes root read or write elsewhere.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from agentd.files.regular import read_regular
from agentd.harness.trust import TrustFile
from agentd.launch.launcher import quote
from agentd.process.runner import Runner, RunnerError

_LARGEST: Final = 32 * 1024 * 1024
"""Bytes; claude keeps parts of its history in the file."""

_LIMIT: Final = 5.0
"""Seconds to write it."""

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
"""Write the file beside itself and put it in place; with noclobber no link is followed."""


class TrustError(RuntimeError):
    """Trust cannot be given; the text says why, and the file is as it was."""


def give_trust(runner: Runner, file: TrustFile, path: Path, folder: Path) -> bool:
    """Have a program trust a folder that agentd made, and no other.

    Parameters
    ----------
    runner
        Runs the script as the agents' user.
    file
        How the entry looks.
    path
        Where the file is.
    folder
        Its real path.

    Returns
    -------
    Whether it was given now; an entry that is there is left as it is, also one that refuses.

    Raises
    ------
    TrustError
        If it cannot be given.
    """
    # A link, as in a folder of dotfiles, stays one.
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
        raise TrustError(f"{path} is left alone: it is not the JSON that was expected: {error}") from error
    if text is None:
        return False
    words = (str(target.parent), target.name, f".{target.name}.agentd", f"{mode:o}")
    script = b"set -- " + b" ".join(quote(os.fsencode(word)) for word in words) + b"\n" + _REPLACE.encode()
    try:
        done = runner.run(["/bin/sh", "-c", os.fsdecode(script)], stdin=text, limit=_LIMIT)
    except RunnerError as error:
        raise TrustError(f"{path} cannot be written: {error}") from error
    if done.status != 0:
        raise TrustError(f"{path} cannot be written as user {runner.user.name}: {done.reason}")
    return True
