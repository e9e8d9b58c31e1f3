"""A package index as it will be one day: with a newer release of everything that the lock names.

``python -m tests.packaging.tomorrow DIRECTORY`` writes one with the newer releases alone, for use beside a real index
(PIP_EXTRA_INDEX_URL=file://DIRECTORY).
"""

from __future__ import annotations

import hashlib
import re
import sys
import zipfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from scripts.locked import Locked, read_lock

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements/dev.txt"
NEWER = "9999.0"
BUILDS = frozenset({"editables", "hatchling", "packaging", "pathspec", "pluggy", "trove-classifiers"})
"""What installing agentd itself runs: these are what is installed here, all others are names with requirements."""


def normal(name: str) -> str:
    """The name as an index spells it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def add_newer(index: Path, names: Iterable[str]) -> None:
    """Add releases that nobody has seen yet, and that cannot be imported."""
    for name in names:
        module = normal(name).replace("-", "_")
        files = {f"{module}.py": b"raise ImportError('this release is newer than the lock')\n"}
        _add(index, name, NEWER, f"Metadata-Version: 2.1\nName: {name}\nVersion: {NEWER}\n".encode(), files)


def add_locked(index: Path, lock: Iterable[Locked]) -> dict[str, str]:
    """Add the locked releases as far as they are installed here; gives their hashes by name."""
    added = {}
    for package in lock:
        try:
            found = metadata.distribution(package.name)
        except metadata.PackageNotFoundError:
            continue  # for another Python or system
        files: dict[str, bytes] = {}
        if normal(package.name) in BUILDS:
            for file in found.files or ():
                path = Path(str(file.locate()))
                if file.parts[0] != ".." and ".dist-info" not in file.parts[0] and path.suffix != ".pyc":
                    files[str(file)] = path.read_bytes()
        about = (found.read_text("METADATA") or "").encode()
        added[normal(package.name)] = _add(index, package.name, package.version, about, files)
    return added


def _add(index: Path, name: str, version: str, about: bytes, files: Mapping[str, bytes]) -> str:
    """Add a wheel; gives its hash."""
    stem = f"{normal(name).replace('-', '_')}-{version}"
    inside = {
        **files,
        f"{stem}.dist-info/METADATA": about,
        f"{stem}.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: agentd\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{stem}.dist-info/RECORD"
    inside[record] = "".join(f"{path},,\n" for path in (*inside, record)).encode()
    folder = index / normal(name)
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in inside.items():
            archive.writestr(path, content)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    with (folder / "index.html").open("a") as page:
        page.write(f'<a href="{wheel.name}#sha256={digest}">{wheel.name}</a><br>\n')
    return digest


if __name__ == "__main__":
    add_newer(Path(sys.argv[1]), (package.name for package in read_lock(LOCK)))
