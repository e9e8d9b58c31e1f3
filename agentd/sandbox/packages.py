"""Packages of nixpkgs for a sandboxed agent: Nix builds or fetches them, as the agents' user.

What was found is kept for as long as it is there. A link in the data directory keeps each from Nix' garbage collection
until no agent wants it any more.

Source: `nix build --help` (2.4 or later).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from agentd.files.worker import in_thread
from agentd.model.user import AgentUser
from agentd.process.runner import Runner, RunnerError
from agentd.sandbox.support import SandboxError

FOLDER: Final = "packages"
"""Of the links, in the data directory."""

_LIMIT: Final = 600.0
"""Seconds for Nix, which may have to fetch hundreds of megabytes."""

_FAILED_FOR: Final = 60.0
"""Seconds that a failure is taken for granted: an agent that cannot be launched asks at each resync."""

_NIX: Final = "nix"
_FEATURES: Final = ("--extra-experimental-features", "nix-command", "--extra-experimental-features", "flakes")
_INHERITED: Final = (
    *("NIX_PATH", "NIX_REMOTE", "NIX_CONFIG", "NIX_CONF_DIR", "NIX_USER_CONF_FILES", "NIX_SSL_CERT_FILE"),
    *("SSL_CERT_FILE", "http_proxy", "https_proxy", "no_proxy", "all_proxy"),
)

_Bins = tuple[Path, ...]


@dataclass(slots=True)
class _Work:
    runner: Runner
    result: asyncio.Future[_Bins]
    waiting: int = field(default=0)


class Packages:
    """Finds packages by their names, once for all agents that want the same.

    Parameters
    ----------
    user
        Whom the agents run as.
    environ
        The daemon's environment.
    data_dir
        Where the links are.
    wanted
        The packages of all agents.
    """

    def __init__(
        self,
        user: AgentUser,
        environ: Mapping[str, str],
        data_dir: Path,
        wanted: Callable[[], Iterable[tuple[str, ...]]] = tuple,
    ) -> None:
        self._user = user
        self._environ = environ
        self._folder = data_dir / FOLDER
        self._found: dict[tuple[str, ...], _Bins] = {}
        self._failed: dict[tuple[str, ...], tuple[float, str]] = {}
        self._working: dict[tuple[str, ...], _Work] = {}
        self._wanted = wanted

    def known(self, names: tuple[str, ...]) -> _Bins | None:
        """Give what was found at the last look; ``None`` if there was none, or its failure is old.

        Raises
        ------
        SandboxError
            If it failed.
        """
        when, reason = self._failed.get(names, (0.0, ""))
        if reason and time.monotonic() - when < _FAILED_FOR:
            raise SandboxError(reason)
        return self._found.get(names) if names else ()

    async def get(self, names: tuple[str, ...]) -> _Bins:
        """Find the folders with the programs of some packages; ended once nobody waits any more.

        Raises
        ------
        SandboxError
            If Nix is missing, or has no such package.
        """
        if self.known(names) == ():
            return ()
        work = self._working.get(names)
        if work is None:
            runner = Runner(self._user, self._environ)
            kept = [_digest(each) for each in {names, *self._wanted()} if each]
            work = _Work(runner, in_thread("packages", partial(self._find, runner, names, kept)))
            self._working[names] = work
            work.result.add_done_callback(lambda _: self._working.pop(names, None))
        work.waiting += 1
        try:
            found = await asyncio.shield(work.result)
        except SandboxError as error:
            self._failed[names] = time.monotonic(), str(error)
            raise SandboxError(str(error)) from error
        finally:
            work.waiting -= 1
            if not work.waiting and not work.result.done():
                self._working.pop(names, None)
                work.result.add_done_callback(_heard)
                work.runner.cancel()
        self._failed.pop(names, None)
        self._found[names] = found
        return found

    def _find(self, runner: Runner, names: tuple[str, ...], kept: Iterable[str]) -> _Bins:
        known = self._found.get(names)
        if known is not None and all(folder.is_dir() for folder in known):
            return known
        path = self._environ.get("PATH", os.defpath)
        nix = shutil.which(_NIX, path=path)
        if nix is None:
            raise SandboxError(
                f"extra_packages need Nix, and there is no {_NIX} on agentd's PATH ({path}): install it, "
                "or install the packages on this machine and leave the field out"
            )
        build = [nix, *_FEATURES, "build", "--json", "--out-link", str(self._folder / _digest(names))]
        argv = ["/bin/sh", "-c", _LINKED, "agentd", str(self._folder), " ".join(kept), *build]
        inherited = {name: value for name in _INHERITED if (value := self._environ.get(name))}
        failed = f"extra_packages: Nix cannot provide {', '.join(names)}"
        try:
            done = runner.run(
                [*argv, *(f"nixpkgs#{name}" for name in names)],
                limit=_LIMIT,
                environment={"XDG_CACHE_HOME": str(self._folder / ".cache"), **inherited},
            )
        except RunnerError as error:
            raise SandboxError(f"{failed}: {error}") from error
        if done.status != 0:
            # Warnings and what is built come before.
            said = done.err.rpartition("error: ")[2].strip().splitlines()
            raise SandboxError(f"{failed}: {said[0] if said else done.reason}")
        return tuple(folder for output in _outputs(done.out, failed) if (folder := output / "bin").is_dir())


_LINKED: Final = """umask 077
mkdir -p -- "$1" && cd -- "$1" || exit
for each in *; do
  case " $2 " in *" ${each%%-*} "*) ;; *) rm -f -- "$each";; esac
done
shift 2
exec "$@"
"""


def with_programs(environment: Mapping[str, str], folders: Sequence[Path]) -> dict[str, str]:
    """Put the folders of packages first on the PATH."""
    path = ":".join((*map(str, folders), environment.get("PATH", os.defpath)))
    return {**environment, "PATH": path} if folders else {**environment}


def _digest(names: tuple[str, ...]) -> str:
    return hashlib.sha256(" ".join(names).encode()).hexdigest()[:16]


def _outputs(out: bytes, failed: str) -> list[Path]:
    try:
        built = json.loads(out)
        return [Path(path) for each in built for path in each["outputs"].values()]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SandboxError(f"{failed}: expected JSON with outputs from nix build, found {out[:200]!r}") from error


def _heard(result: asyncio.Future[_Bins]) -> None:
    """Take what comes of what nobody waits for any more."""
    if not result.cancelled():
        result.exception()
