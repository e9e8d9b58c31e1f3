"""What is built for installation: the same bytes wherever it is built, and everything that agentd needs."""

from __future__ import annotations

import configparser
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.installs

ROOT = Path(__file__).resolve().parents[2]
NOT_SOURCE = (".*", "__pycache__", "dist", "build", "*.egg-info")


def build(source: Path, target: Path, *kinds: str, umask: int, zone: str) -> dict[str, str]:
    """Build distributions as ``python -m build --no-isolation`` does; their digests by name."""
    kinds_wanted = [word for kind in kinds for word in ("-t", kind)]
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(target), *kinds_wanted],
        cwd=source, env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000", "TZ": zone}, umask=umask,
        check=True, capture_output=True,
    )  # fmt: skip
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(target.iterdir())}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source, with other times and modes than in the checkout."""
    copy = tmp_path_factory.mktemp("elsewhere") / "source"
    shutil.copytree(
        ROOT, copy, ignore=shutil.ignore_patterns(*NOT_SOURCE), symlinks=True, copy_function=shutil.copyfile
    )
    return copy


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    build(source, target, "sdist", "wheel", umask=0o077, zone="Asia/Tokyo")
    return target


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(next(built.glob("*.whl")))


def digests(folder: Path, pattern: str) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob(pattern)}


def test_two_builds_have_the_same_bytes(source: Path, built: Path, tmp_path: Path) -> None:
    again = tmp_path / "source"
    shutil.copytree(source, again, symlinks=True)
    for path in again.rglob("*.py"):
        os.utime(path, (1, 1))
    assert build(again, tmp_path / "dist", "sdist", "wheel", umask=0o022, zone="UTC") == digests(built, "*")


def test_the_source_distribution_builds_the_same_wheel(built: Path, tmp_path: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        if hasattr(tarfile, "data_filter"):  # from Python 3.11.4 on
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(tmp_path)  # noqa: S202 (made by this test)
    (unpacked,) = tmp_path.iterdir()
    assert build(unpacked, tmp_path / "dist", "wheel", umask=0o022, zone="UTC") == digests(built, "*.whl")


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    wanted = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "agentd").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == wanted
    assert {"agentd/cli/service/agentd.service", "agentd/cli/service/agentd-user.service", "agentd/py.typed"} <= held


def test_the_wheel_installs_by_entry_points_alone(wheel: zipfile.ZipFile) -> None:
    parser = configparser.ConfigParser(delimiters=("=",))
    parser.read_string(wheel.read(next(n for n in wheel.namelist() if n.endswith("entry_points.txt"))).decode())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert dict(parser["console_scripts"]) == project["scripts"]
    assert dict(parser["agentd.harnesses"]) == project["entry-points"]["agentd.harnesses"]
    assert not [name for name in wheel.namelist() if ".data/" in name]
