"""``python -m agentd.turns.judge``: what the screen rules alone say of captured screens.

The activity is the first word of each line. ``--table`` holds the rules against labelled screens: a folder with an
``index.jsonl`` of one object a screen (`agentd.turns.screen.table.Label`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from agentd.turns.screen.judging import Judgement, judge_screen
from agentd.turns.screen.rules import RulesError, harnesses_with_rules
from agentd.turns.screen.table import LabelsError, judge_labelled, precision_table

_STDIN = "-"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m agentd.turns.judge",
        description="Say what the screen rules alone see on captured screens: the activity, first on a line.",
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="`tmux capture-pane -e -p` of a pane; - is stdin")
    parser.add_argument("--harness", help="the harness in the pane, as a jcard names it")
    parser.add_argument("--title", default="", help="the pane's title, `tmux display -p '#{pane_title}'`")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, with the rule and the text")
    parser.add_argument(
        "--table", type=Path, metavar="DIR", help="precision and recall on the screens of DIR/index.jsonl"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge what the command line names.

    Parameters
    ----------
    arguments
        Instead of those of the process.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        if given.table is not None:
            sys.stdout.write(precision_table(judge_labelled(given.table)))
            return 0
        if not given.files or given.harness is None:
            parser.error("expected --harness NAME and a FILE, or --table DIR")
        if given.harness not in harnesses_with_rules():
            parser.error(
                f"there are no screen rules for {given.harness}; there are for {', '.join(harnesses_with_rules())}"
            )
        for name in given.files:
            judgement = judge_screen(given.harness, _read(name), given.title)
            sys.stdout.write(_line(name, judgement, several=len(given.files) > 1, as_json=given.json))
    except (OSError, RulesError, LabelsError) as error:
        sys.stderr.write(f"judge: {error}\n")
        return 1
    return 0


def _read(name: str) -> str:
    data = sys.stdin.buffer.read() if name == _STDIN else Path(name).read_bytes()
    return data.decode(errors="replace")


def _line(name: str, judgement: Judgement, *, several: bool, as_json: bool) -> str:
    if as_json:
        return json.dumps({"file": name, **asdict(judgement)}, ensure_ascii=False) + "\n"
    return f"{judgement.activity} {name}\n" if several else f"{judgement.activity}\n"


if __name__ == "__main__":
    sys.exit(main())
