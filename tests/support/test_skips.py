from __future__ import annotations

import re
from pathlib import Path

from tests.support.skips import command_for, summary

TESTS = Path(__file__).resolve().parents[1]
_REASON = re.compile(r"""(?:pytest\.skip\(|(?:skip|skipif|importorskip)\((?:[^()]|\([^()]*\))*?reason=)f?"([^"]+)\"""")


def test_each_skip_has_a_command_that_runs_it() -> None:
    found = [
        (path.name, reason)
        for path in sorted(TESTS.rglob("*.py"))
        if path != Path(__file__)
        for reason in _REASON.findall(path.read_text())
    ]
    assert len(found) > 40
    assert [(name, reason) for name, reason in found if command_for(reason) is None] == []


def test_skips_are_grouped_by_command() -> None:
    reasons = ["takes minutes: run it with -m clis", "only root can be two users", "only root can become another user"]
    assert summary(reasons) == [
        "    2 by  sudo make test",
        '    1 by  tests/harness/install-clis && make test ARGS="-m clis"',
    ]
