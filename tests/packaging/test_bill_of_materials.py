"""The bill of materials and the look at what is installed, held against the lock."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.installed import differences
from scripts.locked import read_lock
from scripts.sbom import document

LOCK = Path(__file__).parents[2] / "requirements/run.txt"


def test_every_package_of_the_lock_is_read_with_its_hashes_and_who_needs_it() -> None:
    packages = read_lock(LOCK)
    assert {package.name for package in packages} == set(re.findall(r"^([\w.-]+)==", LOCK.read_text(), re.MULTILINE))
    assert all(package.hashes and package.needed_by for package in packages)
    assert sum(len(package.hashes) for package in packages) == LOCK.read_text().count("--hash=")


def test_a_line_that_is_no_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("aiohttp==1 \\\n    --hash=md5:0\n")
    with pytest.raises(ValueError, match="md5"):
        read_lock(tmp_path / "lock")


def test_the_bill_holds_what_runs_and_nothing_that_only_builds() -> None:
    bill = document(LOCK)
    names = {component["name"] for component in bill["components"]}
    locked = {package.name: package for package in read_lock(LOCK)}
    assert {"aiohttp", "pydantic", "yarl", "typing-extensions"} <= names < set(locked)
    assert "hatchling" not in names
    known = {component["bom-ref"] for component in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
    assert {edge["ref"] for edge in bill["dependencies"]} == known
    assert all(set(edge["dependsOn"]) <= known for edge in bill["dependencies"])
    reached = {needed for edge in bill["dependencies"] for needed in edge["dependsOn"]}
    assert reached | {bill["metadata"]["component"]["bom-ref"]} == known
    assert bill == document(LOCK)


def test_what_is_installed_is_what_is_locked_and_a_difference_is_named() -> None:
    packages = {package.name: package for package in read_lock(LOCK)}
    assert differences(packages["yarl"]) == []
    (text,) = differences(replace(packages["yarl"], version="0.1"))
    assert text.startswith("yarl: expected 0.1, found ")
    assert differences(replace(packages["yarl"], name="no-such-package")) == ["no-such-package: not installed"]


def test_a_changed_file_is_found(tmp_path: Path) -> None:
    """In a copy of a small package, put before the installed one."""
    from importlib import metadata  # noqa: PLC0415

    for file in metadata.distribution("aiosignal").files or ():
        to = tmp_path / str(file)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(Path(str(file.locate())).read_bytes())
    changed = tmp_path / "aiosignal/__init__.py"
    changed.write_text(changed.read_text() + "# one line more\n")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path; from scripts.installed import differences; from scripts.locked import read_lock\n"
        "lock = {each.name: each for each in read_lock(Path(sys.argv[3]))}; print(*differences(lock['aiosignal']))"
    )
    argv = [sys.executable, "-c", program, str(LOCK.parents[1]), str(tmp_path), str(LOCK)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout == "aiosignal: aiosignal/__init__.py is not as it came\n"
