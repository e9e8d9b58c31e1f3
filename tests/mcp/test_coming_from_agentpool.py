"""Each row of the tables on the page for who comes from AgentPool: calls are typed, tools are there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.mcp.conftest import hosted
from tests.pool.conftest import STAND_IN, World, jcard_of
from tests.support.same_calls import Check, documents, hold, rows

pytestmark = pytest.mark.timeout(900)

PAGE = "docs/coming-from-agentpool.md"

CODEX = f"""
[[pool.providers]]
id = "codex"
harness = "custom"
command = ["{sys.executable}", "-I", "-S", "{STAND_IN}"]
"""
"""A provider of that name that needs no key."""

ASKING = "Choose a colour. ASK-QUESTION WRITE-FILE:colour.txt"
"""What has the stand-in do what a coding agent would do by itself."""


def test_the_same_calls(world: World) -> None:
    daemon = world.daemon
    daemon.write_jcard(jcard_of("allow_keys = true", CODEX))
    (daemon.jcard.parent / "preferences.md").write_text("Codex for tests.\n")
    (world.repo / "reply.md").write_text("And then?\n")
    (world.repo / "task.md").write_text("Look around.\n")
    path = f"{Path(sys.executable).parent}:{daemon.environment()['PATH']}"
    variables = {**daemon.places, "PATH": path, "ID": ""}

    def typed(call: str) -> str:
        line = call.replace("Choose a colour.", ASKING)
        done = subprocess.run(
            ["bash", "-c", f'{line}\nstatus=$?\n[ -z "$ID" ] || echo "$ID" >ID\nexit $status\n'],
            env=daemon.environment(**variables),
            cwd=world.repo,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, (line, done)
        if (world.repo / "ID").exists():
            variables["ID"] = (world.repo / "ID").read_text().strip()
        return done.stdout

    spawn = "agentctl spawn --provider codex --repo ."
    checks: dict[str, Check] = {
        "agentctl skills get workers": "agentctl spawn",
        "agentctl mcp-config --client codex --absolute-command": r"\[mcp_servers\.agentd\]",
        "agentctl doctor --privacy": "",
        "agentctl smoke --provider stand-in": "stand-in",
        "agentctl inventory --field preferences": "^Codex for tests.",
        "agentctl inventory --json": documents("providers"),
        "agentctl usage --refresh --json": documents("providers"),
        "agentctl models --provider codex": "",
        f'ID=$({spawn} --task "Choose a colour." --isolation worktree --field id)': lambda _: variables["ID"],
        "agentctl observe $ID --for question,completed,error --timeout 60s --json": documents("event", is_="question"),
        "agentctl answer $ID Blue": "",
        "agentctl observe $ID --for completed --timeout 60s --detail excerpt": "Blue",
        "agentctl send $ID \"Go on.\"": "",
        "agentctl send $ID < reply.md": "",
        "agentctl interrupt $ID": "",
        "agentctl workers --state running": lambda printed: variables["ID"] in printed,
        "agentctl status $ID": lambda printed: variables["ID"] in printed,
        "agentctl status $ID --field session": lambda printed: variables["ID"] in printed,
        "agentctl lease acquire a.txt --owner $ID": "",
        "agentctl lease list": r"a\.txt",
        "agentctl lease release a.txt --owner $ID": "",
        "agentctl transcript $ID --tail-lines 80": "And then",
        "agentctl artifacts $ID": "",
        "agentctl collect $ID --output work": r"colour\.txt",
        "agentctl worktrees list": lambda printed: variables["ID"] in printed,
        "agentctl terminate $ID": "",
        "agentctl worktrees clean $ID --force": lambda printed: variables["ID"] in printed,
        f"{spawn} --task-stdin < task.md": r"\S",
        "agentctl stats --since 168h": r"\S",
        "agentctl mcp --toolsets default,stats < /dev/null": "^$",
    }  # fmt: skip
    hold(PAGE, checks, typed)


async def test_the_same_tools(world: World) -> None:
    named = {code.split()[0] for _, now in rows(PAGE, "The same tools") for code in now}
    sets = "default,agents,stats,leases,worktrees"
    async with hosted(world.daemon, "--toolsets", sets) as client:
        there = {tool.name for tool in (await client.list_tools()).tools}
    assert named - {"agents"} <= there
