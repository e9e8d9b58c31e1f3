"""What an index publishes tomorrow changes nothing: the lock is complete, and it alone is installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement

from scripts.locked import Locked, read_lock
from tests.packaging.tomorrow import NEWER, ROOT, add_locked, add_newer, normal
from tests.support.thorough import everyday

BOOTSTRAP = ROOT / "scripts/bootstrap"
PIPS = ROOT / ".cache/pips"
PYTHONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
SYSTEMS = (("linux", "Linux"), ("darwin", "Darwin"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the bootstrap needs of a clone, with an index beside it and its hashes in the locks."""
    folder = tmp_path_factory.mktemp("tomorrow")
    clone, index = folder / "clone", folder / "simple"
    (clone / "scripts").mkdir(parents=True)
    shutil.copy2(BOOTSTRAP, clone / "scripts")
    for name in ("agentd", "requirements"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, clone)
    locked = read_lock(ROOT / "requirements/dev.txt")
    hashes = add_locked(index, locked)
    add_newer(index, (package.name for package in locked))
    for path in (clone / "requirements").glob("*.txt"):
        path.write_text(_with_hashes(read_lock(path), hashes))
    return clone


def _with_hashes(lock: list[Locked], hashes: dict[str, str]) -> str:
    lines = []
    for package in lock:
        marker = f" ; {package.marker}" if package.marker else ""
        known = hashes.get(normal(package.name), package.hashes[0])
        lines.append(f"{package.name}=={package.version}{marker} --hash=sha256:{known}\n")
    return "".join(lines)


def environment(source: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    index = (source.parent / "simple").as_uri()
    return {**kept, "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index, "PYTHON": sys.executable}


def pip_says(source: Path, *arguments: str) -> str:
    done = subprocess.run(
        [str(source / ".venv/bin/python"), "-m", "pip", *arguments],
        env=environment(source), check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def make_venv(source: Path, pip: str | None) -> None:
    """An empty environment, with this release of pip or with the Python's own."""
    venv = source / ".venv"
    shutil.rmtree(venv, ignore_errors=True)
    if pip is None:
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        return
    wheel = PIPS / f"pip-{pip}-py3-none-any.whl"
    if not wheel.exists():
        pytest.skip(f"there is no pip {pip}: tests/packaging/fetch-pips")
    if pip == "23.0" and sys.version_info >= (3, 12):
        pytest.skip("pip 23.0 runs on Python 3.11 alone: make clean test PYTHON=python3.11")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    install = [str(venv / "bin/python"), f"{wheel}/pip", "install", "--quiet", "--no-index", str(wheel)]
    subprocess.run(install, check=True, env=environment(source))


def locked_here() -> dict[str, str]:
    return {normal(package.name): package.version for package in locked_for(environment_of())}


def test_beside_newer_releases_of_everything_the_bootstrap_asks_for_exactly_the_lock(
    source: Path, tmp_path: Path
) -> None:
    """Of a dozen packages, without installing them: all of the lock is the next test's, and takes 4 s more of CPU."""
    lock = tmp_path / "lock.txt"
    lines = (source / "requirements/dev.txt").read_text().splitlines(keepends=True)[:12]
    lock.write_text("".join(lines))
    names = {normal(line.partition("==")[0]) for line in lines}
    (install,) = re.findall(r'^\t"\$venv/bin/python" (.* --requirement) "\$lock"$', BOOTSTRAP.read_text(), re.MULTILINE)
    done = subprocess.run(
        [
            *(sys.executable, *install.split(), lock),
            *("--dry-run", "--ignore-installed", "--report", tmp_path / "report"),
        ],
        env=environment(source), check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    packages = [package["metadata"] for package in json.loads((tmp_path / "report").read_text())["install"]]
    wanted = {name: version for name, version in locked_here().items() if name in names}
    assert len(wanted) > len(lines) / 2
    assert {normal(package["name"]): package["version"] for package in packages} == wanted


@pytest.mark.installs
@pytest.mark.parametrize("pip", [None, "23.0", "23.2"])
def test_beside_newer_releases_of_everything_exactly_the_lock_is_installed(source: Path, pip: str | None) -> None:
    make_venv(source, pip)
    done = subprocess.run(
        [str(source / "scripts/bootstrap"), "dev"],
        env=environment(source), check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No broken requirements" in pip_says(source, "check")
    listed = json.loads(pip_says(source, "list", "--format", "json"))
    brought = {"pip", "setuptools", "agentd"}
    installed = {normal(each["name"]): each["version"] for each in listed}
    wanted = locked_here()
    assert {each: installed[each] for each in installed.keys() - brought} == {
        each: wanted[each] for each in wanted.keys() - brought
    }


@pytest.mark.thorough
def test_an_install_that_resolves_takes_what_is_newer(source: Path, tmp_path: Path) -> None:
    """The index has teeth: for a name alone it gives a release that cannot be imported."""
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(tmp_path), "pytest"]
    subprocess.run(download, env=environment(source), check=True, cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"pytest-{NEWER}-py3-none-any.whl"]


def environment_of(python: str | None = None, system: tuple[str, str] | None = None) -> dict[str, str]:
    """The environment that markers are about, here or on another Python and system."""
    found = {name: str(value) for name, value in default_environment().items()}
    if python is not None:
        found |= {
            "python_version": python,
            "python_full_version": f"{python}.0",
            "implementation_version": f"{python}.0",
        }
    if system is not None:
        found |= {"sys_platform": system[0], "platform_system": system[1]}
    return found


def locked_for(env: dict[str, str], lock: str = "dev") -> list[Locked]:
    return [
        package
        for package in read_lock(ROOT / f"requirements/{lock}.txt")
        if package.marker is None or Marker(package.marker).evaluate(env)
    ]


@pytest.mark.parametrize("lock", ["run", "dev"])
@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("python", everyday([PYTHONS[0], PYTHONS[-1]], PYTHONS))
def test_the_lock_is_complete_for_every_python(python: str, system: tuple[str, str], lock: str) -> None:
    """Nothing is resolved at an installation, so whatever a locked package needs has to be locked, too."""
    env = environment_of(python, system)
    locked = {normal(package.name): package for package in locked_for(env, lock)}
    missing = []
    for name in locked:
        try:
            needs = metadata.requires(name) or ()
        except metadata.PackageNotFoundError:
            continue  # not for this Python or system: held where it is installed
        for requirement in map(Requirement, needs):
            if requirement.marker is not None and not requirement.marker.evaluate({**env, "extra": ""}):
                continue
            found = locked.get(normal(requirement.name))
            if found is None or not requirement.specifier.contains(found.version, prereleases=True):
                missing.append(f"{name} needs {requirement}")
    assert missing == []


def test_whatever_is_fetched_is_named_with_its_version() -> None:
    """An install line that names a package without a version takes what is newest on that day."""
    lines = [
        (path, line)
        for path in SCRIPTS
        for line in re.sub(r"\\\n\s*", " ", (ROOT / path).read_text()).splitlines()
        if re.search(r"\b(pip|npm|uv)\b.* (install|download) ", line) and not line.lstrip().startswith("#")
    ]
    assert len(lines) >= len(SCRIPTS)
    loose = [f"{path}: {line.strip()}" for path, line in lines if not PINNED.search(line)]
    assert loose == []


SCRIPTS = (
    "scripts/bootstrap",
    "scripts/lock",
    "scripts/audit",
    "Containerfile",
    "tests/fuzz/install-schemathesis",
    "tests/packaging/fetch-pips",
    "benchmarks/peers/install",
    ".ci/run",
)
PINNED = re.compile(r"--require-hashes|--no-index|==\d|@\d|apt-get|--no-deps --dry-run")
