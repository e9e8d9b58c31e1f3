"""Files of the state directory that agentd writes whole: steps of writing them, and what may become of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.faults.points import Point

HARMLESS = ("none", "leftover")
"""What takes nothing of a file away."""
DAMAGES = (*HARMLESS, "half", "removed", "unreadable", "newer")


def steps(name: str) -> tuple[Point, ...]:
    """The steps of writing a file of this name beside itself, and then in its place."""

    def writes(part: object, *_: object) -> bool:
        return isinstance(part, Path) and part.name == f".{name}.new"

    step = name.partition(".")[0]
    return (
        Point(f"{step}.creating", "agentd.files.replacing", "_create", before=True, when=writes),
        Point(f"{step}.created", "agentd.files.replacing", "_create", when=writes),
        Point(f"{step}.written", "pathlib", "Path.write_bytes", when=writes),
        Point(f"{step}.in_place", "pathlib", "Path.replace", when=writes),
    )


def damage(path: Path, how: str, chance: Random, version: str) -> Callable[[], str | None]:
    """Break a file while agentd is away.

    Parameters
    ----------
    version
        What the file calls its version.

    Returns
    -------
    What gives the place back where nothing can be written, and says what is not as it must be.
    """
    data = path.read_bytes()
    cut = data[: chance.randrange(len(data))]
    match how:
        case "leftover":
            path.with_name(f".{path.name}.new").write_bytes(cut)
        case "half":
            path.write_bytes(cut)
        case "removed":
            path.unlink()
        case "unreadable":
            # Also for root.
            path.unlink()
            path.mkdir()
            return lambda: shutil.rmtree(path, ignore_errors=True)
        case "newer":
            path.write_text(json.dumps({version: 99, "agents": ["of another form"]}))
        case _:
            pass
    return lambda: None
