"""Files stay readable in one sitting."""

from __future__ import annotations

from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
MOST = 450
MEDIAN = 120


def test_no_file_is_too_long_to_be_read_in_one_sitting() -> None:
    lines = {path: path.read_bytes().count(b"\n") for path in (ROOT / "agentd").rglob("*.py")}
    assert {str(path.relative_to(ROOT)): count for path, count in lines.items() if count > MOST} == {}
    assert median(lines.values()) < MEDIAN
