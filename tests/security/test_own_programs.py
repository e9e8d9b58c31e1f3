"""A program of agentd's own is never found in the folder that somebody happens to be in."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import agentd

PACKAGE = Path(agentd.__file__).parent


def started_modules() -> Iterator[tuple[str, set[object]]]:
    """Find where Python is started with a module: ``python -m`` looks in the current folder first."""
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Tuple | ast.List) and any(
                isinstance(each, ast.Constant) and each.value == "-m" for each in node.elts
            ):
                words: set[object] = {
                    each.value if isinstance(each, ast.Constant) else ast.unparse(each) for each in node.elts
                }
                if "sys.executable" in words:
                    yield f"{file.relative_to(PACKAGE)}:{node.lineno}", words


@pytest.mark.thorough
def test_modules_of_the_current_folder_are_not_executed() -> None:
    """A sandboxed agent could write ``agentd/__init__.py`` into the folder that agentd is started in, often root's."""
    found = dict(started_modules())
    assert found
    assert not {place for place, words in found.items() if "-P" not in words and "-I" not in words}
