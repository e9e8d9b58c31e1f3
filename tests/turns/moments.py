"""Moments of real agents: what each was doing in truth, its screen, and what agentd said of it then.

``python -m tests.turns.moments [FOLDER]`` prints the tables of precision and recall.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from agentd.model.states import Activity
from agentd.turns.screen.table import Label, Outcome, judge_labelled, precision_table


class Moment(Label):
    """A line of ``index.jsonl``: a labelled screen, with what ``/v1/agents`` said at the same time."""

    told: Activity | None = None
    """``None`` where no agent ran any more."""
    source: str | None = None
    """The witness."""


def read_moments(folder: Path) -> list[Moment]:
    """Read the moments of a folder."""
    lines = (folder / "index.jsonl").read_text(encoding="utf-8").splitlines()
    return [Moment.model_validate_json(line) for line in lines]


def by_witness(moments: Iterable[Moment]) -> list[Outcome]:
    """Give what agentd said of each moment, with its witness beside the harness's name."""
    return [
        Outcome(moment.model_copy(update={"harness": f"{moment.harness}, {moment.source or 'none'}"}), moment.told)
        for moment in moments
        if moment.told is not None
    ]


def witness_table(moments: Iterable[Moment]) -> str:
    """Write the Markdown table of precision and recall by harness and witness."""
    return precision_table(by_witness(moments))


def main() -> int:
    """Print both tables of a folder: what the rules say of its screens, and what agentd said, by witness."""
    parser = argparse.ArgumentParser(prog="python -m tests.turns.moments", description=main.__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "unseen")
    folder = parser.parse_args().folder
    sys.stdout.write(f"{precision_table(judge_labelled(folder))}\n{witness_table(read_moments(folder))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
