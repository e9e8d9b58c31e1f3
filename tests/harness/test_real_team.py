"""The real Claude Code as the manager of examples/team: two workers, a question, two patches that it commits."""

from __future__ import annotations

import json

import pytest

from tests.examples.test_team import EXAMPLES, team_of
from tests.harness.driven import DEADLINE, REAL, DrivenCli, output_of
from tests.harness.real_clis import RealCli
from tests.harness.test_real_mcp_hosts import declare, tell, until, use
from tests.harness.test_real_turns import CLAUDE
from tests.pool.conftest import PROVIDER, git

pytestmark = REAL

TASKS = {
    "a page": "Write the page. WRITE-FILE:page.txt",
    "its colour": "Choose a colour for the page. ASK-QUESTION WRITE-FILE:colour.txt",
}


@pytest.fixture
def cli() -> RealCli:
    if not CLAUDE.package.installed:
        pytest.skip("claude-code is not installed; run tests/harness/install-clis claude-code")
    return CLAUDE


def test_claude_code_leads_a_team(driven: DrivenCli) -> None:
    site = team_of(driven.daemon)
    tell(driven)
    declare(driven, mode="interactive", prompt=(EXAMPLES / "team/manager.md").read_text())
    workers = {}
    for title, task in TASKS.items():
        job = {"provider": PROVIDER, "task": task, "repo": str(site), "isolation": "worktree", "role": "writer"}
        workers[str(use(driven, "spawn_worker", **job)["id"])] = title
    asked = until(driven, list(workers), "question")
    assert workers[str(asked["worker"])] == "its colour"
    use(driven, "answer_request", worker=asked["worker"], decision="answer", text="Blue")
    for worker, title in workers.items():
        until(driven, [worker], "completed")
        patch = use(driven, "collect_work", worker=worker)["patch"]
        merge = f"git -C {site} apply --index {patch} && git -C {site} commit -qm {json.dumps(f'Write {title}')}"
        output_of(driven, "ask", f"--timeout={DEADLINE:g}s", "agent", f"STUB-BASH:{merge}")
        use(driven, "terminate_worker", worker=worker)
    assert git(site, "log", "--format=%s") == "Write its colour\nWrite a page\nBegin"
    assert "(Blue)" in (site / "colour.txt").read_text()
    assert [agent["name"] for agent in driven.daemon.agents().values()] == ["agent"]
