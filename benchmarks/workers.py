"""Workers beside agentpool-cli, in the same run: bytes of what an agent reads, the time of each call, what is told.

Run it with the path of its program::

    python3 -m venv V && V/bin/pip install agentpool-cli==0.1.13
    .venv/bin/python -m benchmarks.workers V/bin/agentpool
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.correctness import OURS, THEIRS, commands, correctness
from benchmarks.pools import ASKS, Pool, ours, theirs


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
        places = [_place(folder / name) for name in ("a", "b")]
        (home, repo, own), (other_home, other_repo, its) = places
        own = {**own, "asks": [sys.executable, str(ASKS)]}
        with ours(home, repo, own) as agentd, theirs(sys.argv[1], other_home, other_repo, its) as other:
            print("| | agentd | agentpool-cli |\n| --- | --- | --- |")
            _print(measured(agentd, "asks"), measured(other, "fake-question"))
            _print(correctness(agentd, OURS, home), correctness(other, THEIRS, other_home))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _place(folder: Path) -> tuple[Path, Path, Mapping[str, Sequence[str]]]:
    """Make a home with a repository, and the workers' programs."""
    repo = folder / "repo"
    (repo / "src").mkdir(parents=True)
    pool = Pool([], {}, repo)
    pool.git("init", "-q")
    (repo / "src/b.txt").write_text("b\n")
    (repo / "a.txt").write_text("a\n")
    pool.git("add", ".")
    pool.git("commit", "-q", "-m", "one")
    return folder, repo, commands(folder)


def _print(own: Iterator[tuple[str, str]], its: Iterator[tuple[str, str]]) -> None:
    for (name, ours_), (_, theirs_) in zip(own, its, strict=True):
        print(f"| {name} | {ours_} | {theirs_} |", flush=True)


if __name__ == "__main__":
    main()
