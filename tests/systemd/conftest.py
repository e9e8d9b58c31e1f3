"""A booted Debian for the tests that need a real systemd."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.markers import Marker

from tests.systemd.machine import Installation, Machine

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = "AGENTD_TEST_TREE"
TREE = os.environ.get(VARIABLE)
"""Read here, since no test is to see variables that begin like this."""
UNITS = "{}/lib/python3.*/site-packages/agentd/cli/service"
"""Where a virtual environment has the packaged units."""
LATER = "99.0"
"""Version of the agentd that tests upgrade to."""

JCARD = '''
[[agents]]
name = "watcher"
harness = "custom"
command = ["sh", "-c", """
env > ~/environment
echo started >> /mnt/kept/life
trap 'echo interrupted >> /mnt/kept/life; exit' INT
while :; do sleep 3600 & wait; done
"""]
workdir = "~"

[[agents]]
name = "sleeper"
harness = "custom"
command = ["sleep", "infinity"]
workdir = "~"
replicas = 2
'''


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is here, and skip it where there is nothing to boot."""
    reason = _missing()
    ours = f"{ROOT}/tests/systemd/"
    for item in items:
        # Not by the parents of its path: that takes 0.2 s for all tests of the suite.
        if str(item.path).startswith(ours):
            item.add_marker(pytest.mark.systemd)
            item.add_marker(pytest.mark.timeout(900))
            item.add_marker(pytest.mark.xdist_group("systemd"))
            if reason is not None:
                item.add_marker(pytest.mark.skip(reason=reason))


def _missing() -> str | None:
    if TREE is None:
        return f"{VARIABLE} names no Debian tree to boot (scripts/debian-tree makes one)"
    if os.geteuid() != 0:
        return "only root can boot a tree"
    if shutil.which("systemd-nspawn") is None:
        return "systemd-nspawn is not installed (package systemd-container)"
    return None if Path(TREE, "usr/lib/systemd/systemd").exists() else f"{TREE} is no Debian tree with systemd"


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels of agentd in two versions, and of all it needs, for the Python of the tree."""
    assert TREE is not None
    folder = tmp_path_factory.mktemp("wheels")
    folder.chmod(0o755)
    _build(ROOT, folder)
    source = tmp_path_factory.mktemp("later") / "agentd"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "dist")
    shutil.copytree(ROOT, source, ignore=ignored)
    version = source / "agentd/__init__.py"
    text, count = re.subn(r'__version__ = ".*"', f'__version__ = "{LATER}"', version.read_text())
    assert count == 1
    version.write_text(text)
    later = folder / "later"
    _build(source, later)
    download("requirements/run.txt", folder)
    return folder


def download(lock: str, folder: Path) -> None:
    """Fetch the wheels that a lock of ours names, for the Python of the tree."""
    assert TREE is not None
    python = subprocess.run(
        ["chroot", TREE, "/usr/bin/python3", "-c", "import platform; print(platform.python_version())"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    requirements = folder / "requirements.txt"
    requirements.write_text(_for_python(python, (ROOT / lock).read_text()))
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", f"--python-version={python}",
         *(f"--platform={tag}_{os.uname().machine}" for tag in ("manylinux2014", "manylinux_2_17", "manylinux_2_28")),
         "--no-deps", f"--dest={folder}", f"--requirement={requirements}"],
        check=True,
    )  # fmt: skip


def _for_python(version: str, lock: str) -> str:
    """Take what a lock says for another Python; pip would go by the markers of the one that it runs with."""
    environment = {"python_full_version": version, "python_version": ".".join(version.split(".")[:2])}
    kept, wanted = [], True
    for line in lock.splitlines():
        requirement, _, marker = line.rstrip(" \\").partition(" ; ")
        if line and not line.startswith((" ", "#")):
            wanted = not marker or Marker(marker).evaluate(environment)
            line = f"{requirement} \\"  # noqa: PLW2901
        if wanted:
            kept.append(line)
    return "\n".join([*kept, ""])


def _build(source: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, f"--wheel-dir={folder}", str(source)], check=True)


@pytest.fixture(scope="module")
def machine(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A fresh boot, with our wheels at /mnt/wheels, and at /mnt/kept a folder that outlives it."""
    assert TREE is not None
    console = tmp_path_factory.mktemp("console") / "console.log"
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/mnt/wheels", "PIP_ROOT_USER_ACTION": "ignore"}
    kept = tmp_path_factory.mktemp("kept")
    kept.chmod(0o777)
    binds = {wheels: "/mnt/wheels", kept: "/mnt/kept"}
    booted = Machine(Path(TREE), console, binds, offline)
    try:
        booted.boot()
        yield booted
    finally:
        booted.end()


@pytest.fixture(scope="module")
def installed(machine: Machine) -> Machine:
    """A machine with agentd installed for everybody, and users agent, admin and other."""
    machine.run("""
        useradd --create-home --shell /usr/sbin/nologin agent
        groupadd admin
        useradd --create-home --gid admin --shell /bin/bash admin
        useradd --create-home --shell /bin/bash other
        python3 -m venv /opt/agentd
        /opt/agentd/bin/pip install --quiet agentd
    """)
    return machine


@pytest.fixture(scope="module")
def service(installed: Machine) -> Installation:
    """The packaged system unit, enabled and running."""
    installed.run(f"""
        cd /etc/systemd/system
        sed 's|/usr/bin/agentd|/opt/agentd/bin/agentd|' {UNITS.format("/opt/agentd")}/agentd.service > agentd.service
        mkdir -p /etc/stereos
        cat > /etc/stereos/jcard.toml <<'END'\n{JCARD}\nEND
        systemctl daemon-reload
        systemctl enable --quiet --now agentd
    """)
    return Installation(installed, "/run/stereos/agentd.sock")
