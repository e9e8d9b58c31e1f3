"""What agentpool-cli was seen to get wrong, tried on it and on agentd: each entry, and what became of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from benchmarks.pools import Json, Pool, text_of

_LATE = """
import pathlib, select, sys, termios, time
task = sys.argv[1] if len(sys.argv) > 1 else ""
if not task:
    time.sleep(3)
    termios.tcflush(0, termios.TCIFLUSH)
    while select.select([0], [], [], 3)[0]:
        task += sys.stdin.readline()
pathlib.Path({got!r}).write_text(task)
time.sleep(600)
"""
"""A program that is ready for its task after 3 s, as Claude Code and the others clear their terminals at the start."""

_SCRIPTS: Mapping[str, str] = {
    "exception": "echo 'exception: caught; all 12 tests pass'; exec sleep 600",
    "writes": "echo x >made-by-a-reader.txt; echo wrote; exec sleep 600",
    "sleeps": "echo $$ >{got}; exec sleep 600",
    "exits": "sleep 2; exit 7",
    "commits": "echo one >one.txt; git add .; git -c user.name=w -c user.email=w@w commit -qm one; echo two >two.txt; "
    "touch {got}; exec sleep 600",
}

_SETTLED = 4.0
"""Seconds in which a program that was started has done what it does."""
_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one of both is told the same."""

    shared: str
    """The isolation that is none."""
    runtime: Callable[[int], Sequence[str]]
    clean: Callable[[str], Sequence[str]]
    lease: Callable[[str, str, str], Sequence[str]]
    """Of a repository, an owner and a path."""
    observe: Callable[[str], tuple[str, Mapping[str, Json]]]
    """The tool, and its arguments to wait 6 s for what does not happen."""
    at_once: Sequence[str]
    """Has a command observe once, and not wait."""


OURS = Dialect(
    "none",
    lambda seconds: ["--max-runtime", f"{seconds}s"],
    lambda worker: ["worktrees", "clean", worker],
    lambda repo, owner, path: ["lease", "acquire", path, "--mode", "write", "--repo", repo, "--owner", owner],
    lambda worker: ("observe_workers", {"workers": [worker], "for": ["exited"], "timeout_seconds": 6}),
    ["--timeout", "0s"],
)
THEIRS = Dialect(
    "shared",
    lambda seconds: ["--max-runtime-seconds", str(seconds)],
    lambda worker: ["worktrees", "cleanup", "--session-id", worker],
    lambda _repo, owner, path: ["leases", "acquire", "--session-id", owner, "--file", path],
    lambda worker: ("observe_worker", {"session_id": worker, "wait_for": ["completed"], "timeout_seconds": 6}),
    [],
)


def commands(folder: Path) -> Mapping[str, Sequence[str]]:
    """Write the workers' programs into a folder; give their command lines, by provider."""
    late = folder / "late.py"
    late.write_text(_LATE.format(got=str(folder / "late.got")))
    found: dict[str, Sequence[str]] = {"late": [sys.executable, "-I", "-S", str(late)]}
    for name, script in _SCRIPTS.items():
        path = folder / f"{name}.sh"
        path.write_text(script.replace("{got}", str(folder / f"{name}.got")) + "\n")
        found[name] = ["/bin/sh", str(path)]
    return found


def correctness(pool: Pool, dialect: Dialect, folder: Path) -> Iterator[tuple[str, str]]:
    """Try each entry.

    Parameters
    ----------
    folder
        Where the programs were written.
    """
    tried = _Tried(pool, dialect, folder)
    yield "a task for a program that is ready after 3 s", tried.late()
    yield "a program that shows the word exception and works on", tried.exception()
    yield "its worktree, cleaned while it lives", tried.cleaned()
    yield "a file that a read_only worker writes into the repository", tried.read_only()
    yield "a program over its longest runtime, when nobody asks", tried.over_time()
    yield "exit status 7", tried.exits()
    yield "a commit and a file beside it, in the patch", tried.patch()
    yield from tried.served()
    yield "a second writer's lease, by src/../a.txt", tried.leases()


@dataclass(frozen=True, slots=True)
class _Tried:
    pool: Pool
    dialect: Dialect
    folder: Path

    def spawn(self, provider: str, isolation: str | None = None, *more: str) -> str:
        kind = isolation or self.dialect.shared
        return self.pool.spawn(provider, "Say hello.", "--isolation", kind, *more)[0]

    def got(self, name: str) -> Path:
        return self.folder / f"{name}.got"

    def late(self) -> str:
        self.spawn("late")
        if not _until(self.got("late").exists):
            return "never taken"
        return "taken" if "Say hello." in self.got("late").read_text() else "lost"

    def exception(self) -> str:
        worker = self.spawn("exception")
        time.sleep(_SETTLED)
        return text_of(self.pool.run("observe", worker, *self.dialect.at_once).document, "state")

    def cleaned(self) -> str:
        worker = self.spawn("exception", "worktree")
        time.sleep(_SETTLED)
        self.pool.run("observe", worker, *self.dialect.at_once)
        trees = {each.resolve() for each in self._worktrees()}
        self.pool.run(*self.dialect.clean(worker))
        left = [each for each in trees if each.exists()]
        return "none was made" if not trees else "stays" if len(left) == len(trees) else "is deleted"

    def _worktrees(self) -> list[Path]:
        listed = self.pool.git("worktree", "list", "--porcelain").splitlines()
        found = [Path(line.removeprefix("worktree ")) for line in listed if line.startswith("worktree ")]
        return [each for each in found if each != self.pool.repo]

    def read_only(self) -> str:
        self.spawn("writes", "read_only")
        time.sleep(_SETTLED)
        made = self.pool.repo / "made-by-a-reader.txt"
        written = made.exists()
        made.unlink(missing_ok=True)
        return "is written" if written else "cannot be"

    def over_time(self) -> str:
        self.spawn("sleeps", None, *self.dialect.runtime(2))
        if not _until(self.got("sleeps").exists):
            return "never started"
        pid = int(self.got("sleeps").read_text())
        return "is ended" if _until(lambda: not Path(f"/proc/{pid}").exists(), 10.0) else "runs on"

    def exits(self) -> str:
        worker = self.spawn("exits")
        time.sleep(_SETTLED)
        shown = self.pool.run("observe", worker, *self.dialect.at_once).document
        known = shown.get("exit") or {name: shown[name] for name in ("exit_code", "exit_status") if name in shown}
        return f"{text_of(shown, 'state')}, {json.dumps(known)}" if known else "not told"

    def patch(self) -> str:
        worker = self.spawn("commits", "worktree")
        if not _until(self.got("commits").exists):
            return "never made"
        collected = self.pool.run("collect", worker).document
        texts = [each.read_text(errors="replace") for each in _patches(collected) if each.is_file()]
        inside = [name for name in ("one.txt", "two.txt") if any(f"b/{name}" in text for text in texts)]
        return " and ".join(inside) or "neither"

    def served(self) -> Iterator[tuple[str, str]]:
        worker = self.spawn("exception")
        with Path(os.devnull).open("w") as quiet:
            wait, listed, largest, knows = asyncio.run(self._served(worker, quiet))
        yield "tools/list while a wait of 6 s runs, seconds", f"{listed:.2f} of {wait:.1f}"
        yield "a worker, for the server that is started again", "known" if knows else "forgotten"
        yield "bytes of its largest answer, the inventory", str(largest)

    async def _served(self, worker: str, quiet: TextIO) -> tuple[float, float, int, bool]:
        command, *arguments = (*self.pool.argv, "mcp")
        parameters = StdioServerParameters(command=command, args=arguments, env=dict(self.pool.environment))
        tool, given = self.dialect.observe(worker)
        clock = time.monotonic
        async with Client(stdio_client(parameters, errlog=quiet), mode="legacy") as client:
            names = {each.name for each in (await client.list_tools()).tools}
            inventory = "inventory" if "inventory" in names else "get_inventory"
            answer = await client.call_tool(inventory, {})
            largest = len(answer.model_dump_json(by_alias=True, exclude_none=True))
            began = clock()
            wait = asyncio.create_task(client.call_tool(tool, dict(given)))
            await asyncio.sleep(1)
            asked = clock()
            await client.list_tools(cache_mode="bypass")
            listed = clock() - asked
            await wait
            waited = clock() - began
        async with Client(stdio_client(parameters, errlog=quiet), mode="legacy") as client:
            again = await client.call_tool(tool, {**given, "timeout_seconds": 0})
        return waited, listed, largest, not again.is_error

    def leases(self) -> str:
        one, two = self.spawn("exception"), self.spawn("exception")
        repo = str(self.pool.repo)
        self.pool.run(*self.dialect.lease(repo, one, "a.txt"))
        second = self.pool.run(*self.dialect.lease(repo, two, "src/../a.txt"))
        return "refused" if "error" in second.document or not second.document else "granted"


def _patches(document: object) -> Iterator[Path]:
    """Give the files that a document names as patches."""
    match document:
        case Mapping():
            for each in document.values():
                yield from _patches(each)
        case list() | tuple():
            for each in document:
                yield from _patches(each)
        case str() if document.endswith((".patch", ".diff")):
            yield Path(document)


def _until(right: Callable[[], bool], patience: float = _PATIENCE) -> bool:
    end = time.monotonic() + patience
    while not right():
        if time.monotonic() > end:
            return False
        with contextlib.suppress(InterruptedError):
            time.sleep(0.1)
    return True
