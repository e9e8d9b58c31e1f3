"""What CONTRIBUTING says of the folders is so."""

from __future__ import annotations

import re
import tomllib

from tests.docs.newcomer import ROOT
from tests.faults import drop_ins, gateway, records
from tests.faults.budgets import BUDGET_POINTS
from tests.faults.messages import MESSAGE_POINTS
from tests.faults.points import POINTS
from tests.faults.worktree_points import WORKTREE_POINTS


def _layers() -> list[str]:
    """The folders from the top floor to the ground; of those in brackets, which may be missing, what is there."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract.get("containers") == ["agentd"])
    folders = [folder for layer in layers for folder in layer.split(" | ")]
    there = [each for each in folders if each.isidentifier() or (ROOT / "agentd" / each.strip("()")).is_dir()]
    return [each.strip("()") for each in there]


def test_contributing_lists_every_folder_from_the_top_floor_to_the_ground() -> None:
    rows = re.findall(r"^\| [a-z]* ?\| (`agentd/.*?`) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert re.findall(r"`agentd/(\w+)`", " ".join(rows)) == _layers()


def test_every_folder_has_its_floor() -> None:
    folders = {path.parent.name for path in (ROOT / "agentd").glob("*/__init__.py")}
    assert folders == set(_layers())


def test_every_test_that_a_page_names_is_there() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks/README.md"]
    named = {found for page in pages for found in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text())}
    assert named
    missing = [f"{file}::{name}" for file, name in named if f"def {name}(" not in (ROOT / file).read_text()]
    assert not missing


def test_the_page_on_reliability_counts_the_steps_that_there_are() -> None:
    points = {
        "kills": POINTS,
        "records": records.POINTS,
        "drop-ins": drop_ins.POINTS,
        "worktrees": WORKTREE_POINTS,
        "gateway": gateway.POINTS,
        "messages": MESSAGE_POINTS,
        "budgets": BUDGET_POINTS,
    }
    page = (ROOT / "docs/reliability.md").read_text()
    told = {family: int(number) for family, number in re.findall(r"`([a-z-]+)` \((\d+) steps", page)}
    assert {family: told[family] for family in points} == {family: len(steps) for family, steps in points.items()}
