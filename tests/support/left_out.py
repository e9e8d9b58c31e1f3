"""Files of tests that a run does not even read, as it would leave out all that is in them.

Reading those of the gateway, the MCP server and the real agents takes 6 s of CPU, in each process that runs tests; what
the fault runs need takes a sixth of the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def whole_file_markers(path: Path) -> tuple[str, ...]:
    """The markers that a run has to name one of for any test of this file or folder, if all of it is of a kind."""
    match path.relative_to(TESTS).parts if path.is_relative_to(TESTS) else ():
        case ("gateway",):
            return ("gateway", "browser")
        case ("gateway", "test_page.py"):
            return ("browser",)
        case ("gateway", *_) | ("docs", "test_gateway_page.py"):
            return ("gateway",)
        case ("mcp", *_):
            return ("mcp",)
        case ("supervise", "test_fault_points.py"):
            return ("thorough",)
        case ("harness", name) if name.startswith("test_real_"):
            return ("clis", "days")
        case _:
            return ()


def is_left_out(path: Path, marks: str, named: Sequence[Path]) -> bool:
    """Whether a file or folder is not read with these marks (``-m``) and these paths on the command line."""
    markers = whole_file_markers(path)
    asked_for = any(marker in marks for marker in markers) or any(each.is_relative_to(path) for each in named)
    return bool(markers) and not asked_for


def left_out(folders: Sequence[Path], marks: str) -> list[str]:
    """Say of each file below these folders that is not read how it is run."""
    files = {path for folder in folders if folder.is_dir() for path in folder.rglob("test_*.py")}
    return [f"run it with -m {whole_file_markers(path)[0]}" for path in files if is_left_out(path, marks, ())]
