"""Workers beside agentpool-cli, in the same run: bytes of what an agent reads, the time of each call, what is told.

Run it with the path of its program::

    python3 -m venv V && V/bin/pip install agentpool-cli==0.1.13
    .venv/bin/python -m benchmarks.workers V/bin/agentpool
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
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
Row: TypeAlias = tuple[str, str, str]


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

    def spawn(self, provider: str, task: str) -> tuple[str, float]:
        """Spawn a worker; give its id and when that began."""
        began = time.monotonic()
        made = self.run("spawn", "--provider", provider, "--repo", str(self.repo), "--task", task).document
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
def ours(folder: Path, repo: Path) -> Iterator[Pool]:
    """Run agentd, with two providers that need no key."""
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
        provider.format("asks", json.dumps([sys.executable, str(ASKS)])) + provider.format("shell", '["/bin/sh", "-c"]')
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
def theirs(program: str, folder: Path, repo: Path) -> Iterator[Pool]:
    """Prepare the other, with a tmux server of its own."""
    environment = {**os.environ, "HOME": str(folder), "TMUX_TMPDIR": str(folder)}
    environment.pop("TMUX", None)
    pool = Pool([program], environment, repo)
    subprocess.run([program, "init"], env=environment, capture_output=True, check=True)
    try:
        yield pool
    finally:
        subprocess.run(["tmux", "kill-server"], env=environment, capture_output=True, check=False)


def measured(pool: Pool, asks: str) -> Iterator[tuple[str, str]]:
    """Measure one of them.

    Parameters
    ----------
    asks
        The provider whose worker asks a question at once.
    """
    count, size, seconds = pool.tools()
    yield "tools", str(count)
    yield "bytes of their list", f"{size}"
    yield "seconds until it is there", f"{seconds:.2f}"
    inventory = pool.run("inventory")
    providers = inventory.document.get("providers")
    yield "bytes of the inventory, for a provider", f"{inventory.size / len(providers or [0]):.0f}"  # type: ignore[arg-type]
    yield "seconds of the inventory", f"{inventory.seconds:.2f}"
    worker, began = pool.spawn(asks, "ASK-QUESTION")
    seen = pool.until(worker, lambda told: told.get("event") == "question")
    yield "seconds from spawn until its question is told", f"{time.monotonic() - began:.2f}"
    yield "bytes of an observe", "never told" if seen is None else f"{seen.size}"
    yield "seconds of an observe", "" if seen is None else f"{pool.run('observe', worker).seconds:.2f}"
    pool.run("terminate", worker)


def main() -> None:
    """Measure both, and print a table."""
    folder = Path(tempfile.mkdtemp(prefix="workers-", dir="/dev/shm"))
    try:
        repo = folder / "repo"
        subprocess.run(["git", "init", "-q", str(repo)], check=True)
        who = ["-c", "user.name=b", "-c", "user.email=b@localhost"]
        subprocess.run(["git", "-C", str(repo), *who, "commit", "-q", "--allow-empty", "-m", "one"], check=True)
        for name in ("a", "b"):
            (folder / name).mkdir()
        with ours(folder / "a", repo) as agentd, theirs(sys.argv[1], folder / "b", repo) as other:
            found = zip(measured(agentd, "asks"), measured(other, "fake-question"), strict=True)
            print("| | agentd | agentpool-cli |\n| --- | --- | --- |")
            for (name, own), (_, its) in found:
                print(f"| {name} | {own} | {its} |", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
