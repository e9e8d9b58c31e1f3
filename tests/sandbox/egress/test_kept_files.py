"""What is kept of runs' ways out: taken away of those that are over, and of no other."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from agentd.model.spec import SandboxSpec
from agentd.model.user import AgentUser
from agentd.sandbox.egress.kept import Kept, KeptFiles
from agentd.sandbox.egress.service import FOLDER, Egress, Running
from tests.support.waiting import PATIENCE, until


async def test_what_a_launch_writes_while_former_runs_are_looked_for_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running: list[Running] = []
    user = AgentUser("agent", 1000, 1000, (), tmp_path, "/bin/sh", switch=False)
    egress, files = Egress(user, {}, tmp_path, tmp_path, lambda: running), KeptFiles(tmp_path / FOLDER)
    list_runs, remove = KeptFiles.run_ids, KeptFiles.remove
    looks, go_on = threading.Event(), threading.Event()
    removed: list[set[str]] = []

    def listed(kept: KeptFiles) -> set[str]:
        looks.set()
        go_on.wait(PATIENCE)
        return list_runs(kept)

    def noted(kept: KeptFiles, run_ids: Iterable[str]) -> None:
        found = set(run_ids)
        remove(kept, found)
        removed.append(found)

    monkeypatch.setattr(KeptFiles, "run_ids", listed)
    monkeypatch.setattr(KeptFiles, "remove", noted)
    files.write("former", Kept())
    egress.converge()
    await until(looks.is_set)
    running.append(Running("new", "a", SandboxSpec(), {}, None))
    files.write("new", Kept({"TOKEN": "placeholder"}))
    go_on.set()
    await until(lambda: bool(removed))
    await egress.close()
    assert removed == [{"former"}]
    assert files.read("new") == Kept({"TOKEN": "placeholder"})
