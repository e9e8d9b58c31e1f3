"""What CONTRIBUTING says of the folders is so."""

from __future__ import annotations

import re
import tomllib

from tests.docs.newcomer import ROOT


def _floors() -> dict[str, int]:
    """Every folder, with the number of its layer from the top."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract.get("containers") == ["agentd"])
    return {folder: floor for floor, layer in enumerate(layers) for folder in layer.split(" | ")}


def test_contributing_lists_every_folder_from_the_top_floor_to_the_ground() -> None:
    rows = re.findall(r"^\| [a-z]* ?\| (`agentd/.*?`) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert re.findall(r"`agentd/(\w+)`", " ".join(rows)) == list(_floors())


def test_every_folder_has_its_floor() -> None:
    folders = {path.parent.name for path in (ROOT / "agentd").glob("*/__init__.py")}
    assert folders == set(_floors())


def test_the_picture_of_the_house_shows_every_folder_on_its_floor() -> None:
    page = (ROOT / "docs/explanation/how-it-works.md").read_text()
    picture = page.split("## The house\n", 1)[1].split("Every arrow", 1)[0]
    floors = _floors()
    shown = list(dict.fromkeys(word for word in re.findall(r"[a-z]+", picture) if word in floors))
    assert sorted(shown) == sorted(floors)
    assert [floors[folder] for folder in shown] == sorted(floors.values()), "in the order of the layers"


def test_every_test_that_a_page_names_is_there() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks/README.md"]
    named = {found for page in pages for found in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text())}
    assert named
    missing = [f"{file}::{name}" for file, name in named if f"def {name}(" not in (ROOT / file).read_text()]
    assert not missing


def test_the_page_on_reliability_counts_the_steps_that_there_are() -> None:
    # Here, as they import the gateway and its database: 0.8 s of CPU in each process that collects tests.
    from tests.faults import drop_ins, gateway, records  # noqa: PLC0415
    from tests.faults.budgets import BUDGET_POINTS  # noqa: PLC0415
    from tests.faults.messages import MESSAGE_POINTS  # noqa: PLC0415
    from tests.faults.points import POINTS  # noqa: PLC0415
    from tests.faults.worktree_points import WORKTREE_POINTS  # noqa: PLC0415

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
