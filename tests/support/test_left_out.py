from __future__ import annotations

import re
from pathlib import Path

from tests.support.left_out import TESTS, is_left_out, left_out, whole_file_markers
from tests.support.skips import command_for

_OF_REAL_AGENTS = re.compile(r"^pytestmark = (REAL|DAYS|\[\*(REAL|DAYS))\b", re.MULTILINE)
PAGE = TESTS / "gateway/test_page.py"
TURNS = TESTS / "gateway/test_turns.py"
FAULT_POINTS = TESTS / "supervise/test_fault_points.py"


def test_a_file_is_read_where_its_kind_is_asked_for_or_it_is_named() -> None:
    for path in (TESTS / "gateway", TESTS / "gateway/openai", TURNS):
        assert is_left_out(path, "", [TESTS])
        assert is_left_out(path, "thorough", [TESTS])
        assert not is_left_out(path, "gateway or thorough", [TESTS])
        assert not is_left_out(path, "", [path])
    assert not is_left_out(TESTS / "gateway", "", [TURNS])
    assert not is_left_out(TESTS / "gateway", "browser", [TESTS])
    assert not is_left_out(PAGE, "browser", [TESTS])
    assert is_left_out(FAULT_POINTS, "gateway", [TESTS])
    assert not is_left_out(FAULT_POINTS, "thorough or program", [TESTS])
    assert not is_left_out(TESTS / "daemon/test_turns.py", "", [TESTS])
    assert not is_left_out(Path("/elsewhere/gateway/test_x.py"), "", [])


def test_files_left_out_hold_nothing_that_would_be_run() -> None:
    real = [path for path in (TESTS / "harness").rglob("test_*.py") if whole_file_markers(path)]
    assert len(real) > 10
    assert [path.name for path in real if not _OF_REAL_AGENTS.search(path.read_text())] == []
    assert "\npytestmark = pytest.mark.thorough\n" in FAULT_POINTS.read_text()


def test_each_file_left_out_has_a_command_that_runs_it() -> None:
    reasons = left_out([TESTS], "")
    assert len(reasons) > 40
    assert None not in {command_for(reason) for reason in reasons}
    assert len(left_out([TESTS / "gateway"], "")) < len(reasons)
    assert left_out([TESTS / "daemon"], "") == []
