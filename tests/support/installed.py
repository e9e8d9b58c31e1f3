"""An agentd that is installed in a folder of its own, which a test may remove or replace under the running daemon."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, files
from importlib.util import find_spec
from pathlib import Path

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)
_ROOT = Path(__file__).parents[2]

_PROGRAM = """\
import os, sys, time
sys.path.insert(0, {site!r})
class Watch:
    def find_spec(self, name, path=None, target=None):
        os.write(imports, f"{{time.monotonic()}} {{name}}\\n".encode())
imports = os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
sys.meta_path.insert(0, Watch())
from {module} import main
import agentd
assert agentd.__file__.startswith({site!r}), agentd.__file__
sys.exit(main())
"""


class Installation:
    """The package and what it needs, in ``folder/site``; nothing else of the tests' environment can be imported.

    Parameters
    ----------
    module
        Whose ``main`` the program is.
    """

    def __init__(self, folder: Path, version: str | None = None, module: str = "agentd.daemon.command_line") -> None:
        self.site = folder / "site"
        self._log = folder / "imports"
        self._program = folder / "agentd.py"
        self._program.write_text(_PROGRAM.format(site=str(self.site), log=str(self._log), module=module))
        self.install(version)

    def command(self) -> list[str]:
        """What starts this agentd: isolated, and without the tests' own site-packages."""
        return [sys.executable, "-I", "-S", str(self._program)]

    def install(self, version: str | None = None) -> None:
        """Put everything there, calling itself this version; third parties' files are hard links, so it takes 0.1 s."""
        self.site.mkdir()
        spec = find_spec("agentd")
        assert spec is not None
        assert spec.submodule_search_locations is not None
        shutil.copytree(spec.submodule_search_locations[0], self.site / "agentd")
        if version is not None:
            (self.site / "agentd" / "__init__.py").write_text(f'__version__ = "{version}"\n')
        # The lock has some twice, with a version for each of two Pythons.
        for name in dict.fromkeys(_PINNED.findall((_ROOT / "requirements" / "run.txt").read_text())):
            try:
                found = files(name) or []
            except PackageNotFoundError:  # for another Python or system
                continue
            for file in found:
                target = self.site / file
                if ".." in file.parts:
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(Path(str(file.locate())), target)

    def remove(self) -> None:
        """Take it away as pip does: in place, with nothing left, whatever was left already."""
        if self.site.exists():
            shutil.rmtree(self.site)

    def renew(self, version: str) -> None:
        """Put another version in its place."""
        self.remove()
        self.install(version)

    def imported_since(self, moment: float) -> list[str]:
        """The modules that were looked for after a moment by the monotonic clock."""
        lines = [line.split() for line in self._log.read_text().splitlines()]
        return [name for seconds, name in lines if float(seconds) > moment]


def _replaced_by_one_that_fails(installation: Installation) -> None:
    for path in installation.site.rglob("*.py"):
        path.unlink()
        path.write_text("raise ImportError('half a package')\n")


def _half_replaced(installation: Installation) -> None:
    for number, path in enumerate(sorted(installation.site.rglob("*.*"))):
        if number % 2 and path.is_file():
            path.unlink()


WAYS: dict[str, Callable[[Installation], None]] = {
    "removed": Installation.remove,
    "replaced by another version": lambda installation: installation.renew("9.9.9"),
    "replaced by one that fails": _replaced_by_one_that_fails,
    "half replaced": _half_replaced,
}
"""What an upgrade may do to the package of a running agentd."""


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
