"""Both programs that have workers, each with files, sockets and a repository of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, TypeAlias

from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

BIN = Path(sys.executable).parent
ASKS = Path(__file__).parents[1] / "examples/gateway/stand_in.py"
PATIENCE = 60.0

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | float | bool | None"


def text_of(document: Mapping[str, Json], name: str) -> str:
    """Give a text of a document."""
    return str(document.get(name) or "not told")


@dataclass(frozen=True, slots=True)
class Call:
    """A command that was run."""

    document: Mapping[str, Json]
    size: int
    """Bytes that it printed."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Pool:
    """One of both programs."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    repo: Path

    def run(self, *arguments: str) -> Call:
        """Run a command."""
        began = time.monotonic()
        done = subprocess.run(
            [*self.argv, *arguments, "--json"],
            env=self.environment,
            cwd=self.repo,
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * PATIENCE,
        )
        seconds = time.monotonic() - began
        document: object = json.loads(done.stdout or "{}")
        return Call(document if isinstance(document, dict) else {}, len(done.stdout.encode()), seconds)

    def git(self, *arguments: str) -> str:
        """Run git in the repository."""
        who = ("-c", "user.name=b", "-c", "user.email=b@localhost")
        done = subprocess.run(["git", "-C", self.repo, *who, *arguments], capture_output=True, text=True, check=True)
        return done.stdout

    def spawn(self, provider: str, task: str, *more: str) -> tuple[str, float]:
        """Spawn a worker; give its id and when that began."""
        began = time.monotonic()
        made = self.run("spawn", "--provider", provider, "--repo", str(self.repo), "--task", task, *more).document
        return str(made.get("session_id") or made.get("id")), began

    def until(self, worker: str, right: Callable[[Mapping[str, Json]], bool]) -> Call | None:
        """Observe a worker until it is as it should be."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            call = self.run("observe", worker)
            if right(call.document):
                return call
        return None

    def tools(self) -> tuple[int, int, float]:
        """Give how many tools there are, the bytes of their list, and the seconds until it is there."""
        with Path(os.devnull).open("w") as quiet:
            return asyncio.run(self._tools(quiet))

    async def _tools(self, quiet: TextIO) -> tuple[int, int, float]:
        began = time.monotonic()
        command, *arguments = (*self.argv, "mcp")
        parameters = StdioServerParameters(command=command, args=arguments, env=dict(self.environment))
        async with Client(stdio_client(parameters, errlog=quiet), mode="legacy") as client:
            found = (await client.list_tools()).tools
            seconds = time.monotonic() - began
        listed = [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in found]
        return len(found), len(json.dumps(listed, separators=(",", ":"))), seconds


@contextmanager
def ours(folder: Path, repo: Path, commands: Mapping[str, Sequence[str]]) -> Iterator[Pool]:
    """Run agentd, with providers of these commands."""
    where = {
        "AGENTD_CONFIG": folder / "jcard.toml",
        "AGENTD_API_SOCKET": folder / "api.sock",
        "AGENTD_TMUX_SOCKET": folder / "tmux.sock",
        "AGENTD_STATE_DIR": folder / "state",
        "AGENTD_DATA_DIR": folder / "data",
        "AGENTD_SECRET_DIR": folder / "secrets",
    }
    environment = {**os.environ, "HOME": str(folder), **{name: str(path) for name, path in where.items()}}
    provider = '[[pool.providers]]\nid = "{}"\nharness = "custom"\ncommand = {}\n'
    where["AGENTD_CONFIG"].write_text(
        "[pool]\nmax_workers = 50\n"
        + "".join(provider.format(name, json.dumps(command)) for name, command in commands.items())
    )
    daemon = subprocess.Popen([str(BIN / "agentd")], env=environment, stderr=subprocess.DEVNULL)
    try:
        pool = Pool([str(BIN / "agentctl")], environment, repo)
        while not where["AGENTD_API_SOCKET"].exists() or "error" in pool.run("workers").document:
            time.sleep(0.05)
        yield pool
    finally:
        daemon.terminate()
        daemon.wait()


@contextmanager
def theirs(program: str, folder: Path, repo: Path, commands: Mapping[str, Sequence[str]]) -> Iterator[Pool]:
    """Prepare the other, with a tmux server of its own, the same providers, and no limits that would refuse one."""
    environment = {**os.environ, "HOME": str(folder), "TMUX_TMPDIR": str(folder)}
    environment.pop("TMUX", None)
    pool = Pool([program], environment, repo)
    subprocess.run([program, "init"], env=environment, capture_output=True, check=True)
    settings = folder / ".agentpool/config.yaml"
    text = settings.read_text().replace("max_parallel_sessions: 4", "max_parallel_sessions: 50")
    text = text.replace("allow_shared_repo_edits: false", "allow_shared_repo_edits: true")
    entry = "providers:\n"
    for name, command in commands.items():
        # JSON is YAML.
        model = {"id": "fake", "source": "config", "confidence": "local_config"}
        known = {"enabled": True, "binary_candidates": [command[0]], "command": [*command], "models": [model]}
        entry += f"  {name}: {json.dumps({**known, 'metadata': {'fake': True}})}\n"
    settings.write_text(text.replace("providers:\n", entry, 1))
    try:
        yield pool
    finally:
        subprocess.run(["tmux", "kill-server"], env=environment, capture_output=True, check=False)
