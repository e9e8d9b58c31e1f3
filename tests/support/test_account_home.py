from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.account_home import account_home, traces
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.support.forked import ONLY_PROGRAMS


def test_what_was_left_is_found_by_what_it_says_and_by_its_name(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", Path("/dev/shm/agentd-x_1")
    session, trust, other = (home / each for each in (".claude/sessions/7.json", ".claude.json", ".gemini/p.json"))
    conversations = home / ".claude/projects/-dev-shm-agentd-x-1-0-work"
    for path in (session, trust, other):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{{"cwd": "{folder}/0/work"}}')
    conversations.mkdir(parents=True)
    other.write_text('{"cwd": "/dev/shm/agentd-x_2"}')
    assert traces(home, folder) == sorted((session, trust, conversations))
    assert traces(tmp_path / "none", folder) == []


@pytest.mark.thorough
def test_root_too_gives_agents_the_tests_home(daemon: Daemon) -> None:
    if os.geteuid() != 0 or ONLY_PROGRAMS:
        pytest.skip("not root, or the program: the first gives agents its own HOME, the second that of the account")
    daemon.write_jcard(jcard({"name": "a", "command": ["sh", "-c", "echo $HOME >work/home; exec sleep 600"]}))
    daemon.start()
    home = daemon.workdir / "home"
    daemon.wait_for(lambda: home.exists() and home.read_text() == f"{daemon.home}\n", what="the agent has said it")
    assert account_home() != daemon.home
