"""That the real CLIs ask no question where agentd gave trust, and are seen to ask where it did not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.test_worktrees import client_of
from tests.harness.driven import DEADLINE, REAL, DrivenCli
from tests.harness.real_clis import write_json
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.support.waiting import wait_for

pytestmark = REAL


@pytest.mark.parametrize("ours", [True, False])
def test_trust_is_given_for_the_folder_that_agentd_made_alone(driven: DrivenCli, ours: bool) -> None:
    if driven.cli.harness not in ("claude-code", "gemini-cli"):
        return  # agentd gives the others no trust
    daemon = driven.daemon
    _forget_trust(daemon)
    env = {name: value for name, value in driven.env.items() if name != "GEMINI_CLI_TRUST_WORKSPACE"}
    workdir = daemon.data / "workspaces" / "a" if ours else daemon.workdir
    model = {} if driven.cli.model is None else {"model": driven.cli.model}
    common = {"name": "agent", "harness": driven.cli.harness, "env": env, "role": "engineer", **model}
    daemon.write_jcard(jcard({**common, "workdir": str(workdir), "grace_period": "1s"}))
    daemon.wait_state("agent", "running", timeout=DEADLINE)
    client: Any = client_of(daemon)
    if not ours:
        wait_for(
            lambda: any(row[0] == "detail" for row in client("status", "agent").rows),
            DEADLINE,
            what="it is seen to ask",
        )
        return
    driven.wait_on_screen({"claude-code": "\u276f\xa0", "gemini-cli": "Type your message"}[driven.cli.harness])
    assert not any(row[0] == "detail" for row in client("status", "agent").rows)


def _forget_trust(daemon: Daemon) -> None:
    claude, gemini = daemon.home / ".claude.json", daemon.home / ".gemini" / "settings.json"
    for path, key in ((claude, "projects"), (gemini, "security")):
        if path.exists():
            content = json.loads(path.read_text())
            content.pop(key)
            if key == "security":
                content[key] = {"auth": {"selectedType": "gemini-api-key"}}
            write_json(path, content)
