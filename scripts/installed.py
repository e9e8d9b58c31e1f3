"""Hold what is installed against a lock: versions, and each file against the hash that its package came with.

Usage: python -m scripts.installed requirements/run.txt
"""

from __future__ import annotations

import base64
import hashlib
import sys
from importlib import metadata
from pathlib import Path

from packaging.markers import Marker

from scripts.locked import Locked, read_lock


def differences(package: Locked) -> list[str]:
    """Say how the installed package differs from the locked one."""
    if package.marker is not None and not Marker(package.marker).evaluate():
        return []
    try:
        installed = metadata.distribution(package.name)
    except metadata.PackageNotFoundError:
        return [f"{package.name}: not installed"]
    found = []
    if installed.version != package.version:
        found.append(f"{package.name}: expected {package.version}, found {installed.version}")
    for file in installed.files or ():
        if file.hash is None:
            continue
        path = Path(str(file.locate()))
        if not path.exists():
            found.append(f"{package.name}: {file} is missing")
        elif _digest(path, file.hash.mode) != file.hash.value:
            found.append(f"{package.name}: {file} is not as it came")
    return found


def _digest(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm, path.read_bytes()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def main() -> int:
    """Check all."""
    packages = read_lock(Path(sys.argv[1]))
    found = [text for package in packages for text in differences(package)]
    print("\n".join(found) or f"{len(packages)} packages are installed as they are locked")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
