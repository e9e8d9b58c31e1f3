"""The real CLIs with a tool that runs on after its turn, and with an MCP server, which is none."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from tests.harness.driven import DEADLINE, REAL, DrivenCli, agentctl
from tests.harness.real_clis import RealCli
from tests.harness.test_real_turns import wait_activity

pytestmark = REAL

SERVER = Path(__file__).parents[1] / "support" / "mcp_server.py"
TOOL = "sleep 4711"
STARTS = {
    "claude-code": f'STUB-TOOL:Bash {{"command":"{TOOL}","run_in_background":true,"description":"x"}}',
    "codex": f'STUB-TOOL:exec_command {{"cmd":"{TOOL}","yield_time_ms":500}}',
    "gemini-cli": f'STUB-TOOL:run_shell_command {{"command":"{TOOL}","is_background":true,"description":"x"}}',
    "opencode": f"STUB-BASH:setsid {TOOL} >/dev/null 2>&1 & echo ok",
}


def with_server(driven: DrivenCli, cli: RealCli) -> dict[str, object]:
    """Have the CLI use an MCP server, and run commands without asking; gives fields of the agent."""
    # Its last word tells whose it is: Codex gives servers no variables of its own.
    command, *rest = sys.executable, str(SERVER), str(driven.daemon.folder)
    servers = {"mcpServers": {"x": {"command": command, "args": rest}}}
    args, env = list(cli.unasked), dict(driven.env)
    match cli.harness:
        case "claude-code":
            file = driven.daemon.folder / "mcp.json"
            file.write_text(json.dumps(servers))
            args += ["--mcp-config", str(file), "--strict-mcp-config"]
        case "codex":
            with (driven.daemon.home / ".codex" / "config.toml").open("a") as config:
                config.write(f"[mcp_servers.x]\ncommand = {json.dumps(command)}\nargs = {json.dumps(rest)}\n")
        case "gemini-cli":
            file = driven.daemon.home / ".gemini" / "settings.json"
            file.write_text(json.dumps(json.loads(file.read_text()) | servers))
        case "opencode":
            local = {"mcp": {"x": {"type": "local", "command": [command, *rest]}}, "permission": "allow"}
            env["OPENCODE_CONFIG_CONTENT"] = json.dumps(json.loads(env["OPENCODE_CONFIG_CONTENT"]) | local)
            args = []
        case _:
            pytest.fail(cli.harness)
    return {"args": args, "env": env}


def below(driven: DrivenCli, command: str) -> list[int]:
    """The processes with such a command line that are of the run, or name its daemon."""
    run, folder = driven.run_id(), str(driven.daemon.folder)
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            mine = folder in words or process.environ().get("AGENTD_RUN_ID") == run
            if mine and command in " ".join(words):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def test_a_tool_that_runs_on_is_work_and_a_server_is_none(driven: DrivenCli, cli: RealCli) -> None:
    driven.declare(**with_server(driven, cli))
    wait_activity(driven, "idle")
    agentctl(driven, "send", "agent", "hello")
    daemon = driven.daemon
    daemon.wait_for(lambda: below(driven, str(SERVER)), DEADLINE, what="its MCP server runs")
    wait_activity(driven, "idle")
    agentctl(driven, "send", "agent", STARTS[cli.harness])

    def text() -> str:
        agent = daemon.agents()["agent"]
        return f"{agent['activity']} {agent['activity_source']} {agent['activity_text']}"

    daemon.wait_for(lambda: text() == f"working process in the background: {TOOL}", DEADLINE, what="it works on")
    for pid in below(driven, TOOL):
        # The end of one may be the end of the next.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    daemon.wait_for(lambda: "in the background" not in text(), DEADLINE, what="it has ended")
