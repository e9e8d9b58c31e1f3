"""The reader of captured screens, the language of the rules, and the command that applies them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agentd.model.states import Activity
from agentd.turns.activity import LONGEST_TEXT
from agentd.turns.judge import main
from agentd.turns.screen import rules as rules_module
from agentd.turns.screen.judging import Judgement, judge
from agentd.turns.screen.rules import RulesError, harnesses_with_rules, parse_rules, rules_of
from agentd.turns.screen.styled import PLAIN, Style, read_rows
from tests.turns.test_golden_screens import LABELS, SCREENS

RULES = """
tried = "1.0"
[rows]
bar = { text = '^(?P<bar>\\|) ', fg = { bar = ["!default"] } }
floor = '^=+$'
shell = '^\\$'
sent = '^> '
option = '^\\d\\.'
[rows.failed]
text = '^(?P<bar>\\|) (?P<said>.*)'
fg = { bar = ["!@box.bar"], said = ["=bar"] }
attributes = { said = ["bold"] }
[regions.box]
starts = ["bar"]
ends = "floor"
alone = "shell"
[regions.turn]
above = "box"
starts = ["sent"]
anyhow = true
[regions.failure]
inside = "turn"
starts = ["failed"]
[[rules]]
name = "spinner"
activity = "working"
region = "box"
title = '^\\*'
[[rules]]
name = "failed"
activity = "auth_error"
region = "failure"
said = { since = "failed" }
text = 'refused for'
[[rules]]
name = "asks"
activity = "waiting_input"
region = "turn"
last = "option"
said = { until = "option" }
[[rules]]
name = "idle"
activity = "idle"
region = "box"
never = ["option"]
"""
BOX = "\x1b[34m| \x1b[39mtype here\n=====\n"


def _judge(ansi: str, title: str = "") -> Judgement:
    return judge(parse_rules(RULES), read_rows(ansi), title)


def _styles(ansi: str) -> list[Style]:
    return [run.style for row in read_rows(ansi) for run in row.runs]


def _screen(harness: str, activity: Activity) -> str:
    return str(SCREENS / next(label.file for label in LABELS if (label.harness, label.expect) == (harness, activity)))


def test_styles_last_over_the_ends_of_rows() -> None:
    first, second = read_rows("\x1b[1;38;5;168mred\nstill\x1b[0m plain\n\n")
    bold = Style("168", "default", frozenset({"bold"}))
    assert (first.text, [run.style for run in first.runs]) == ("red", [bold])
    assert (second.text, [run.style for run in second.runs]) == ("still plain", [bold, PLAIN])


@pytest.mark.parametrize(
    ("sgr", "style"),
    [
        ("31", Style("1")),
        ("97", Style("15")),
        ("38;5;75", Style("75")),
        ("38:5:75", Style("75")),
        ("38;2;1;2;255", Style("#0102ff")),
        ("44", Style(bg="4")),
        ("104", Style(bg="12")),
        ("48;5;232", Style(bg="232")),
        ("48;2;0;0;0", Style(bg="#000000")),
        ("1;2;7", Style(attributes=frozenset({"bold", "dim", "reverse"}))),
        ("1;2;22", PLAIN),
        ("31;44;39;49", PLAIN),
        ("31;0", PLAIN),
        ("31;", PLAIN),
        ("31;77;999", Style("1")),
        ("38", Style("#")),
        ("38;5", PLAIN),
    ],
)
def test_what_sgr_sequences_mean(sgr: str, style: Style) -> None:
    assert _styles(f"\x1b[{sgr}mx") == [style]


def test_other_sequences_and_controls_are_skipped() -> None:
    (row,) = read_rows("a\x1b]8;;http://x\x07b\x1b]8;;\x1b\\c\x0ed\x0f\x1b[2Je\x1b(Bf\x1b\r\x7f")
    assert row.text == "abcdeBf"


def test_a_no_break_space_at_the_end_counts() -> None:
    assert [row.text for row in read_rows(">\xa0  \n \n")] == [">\xa0"]


def test_regions_and_colours_decide_and_words_alone_do_not() -> None:
    error = "\x1b[1;31m| key refused\n  for good\x1b[0m\n\n"
    assert _judge(BOX).activity is Activity.IDLE
    assert _judge("> hello\n" + error + BOX) == Judgement(Activity.AUTH_ERROR, "failed", "key refused for good")
    assert _judge("> hello\n| key refused\n" + BOX).activity is Activity.IDLE  # the words alone
    assert _judge("> hello\n\x1b[1;34m| key refused\x1b[0m\n" + BOX).activity is Activity.IDLE  # the box's own colour
    assert _judge("> hello\n" + error.replace("[1;", "[") + BOX).activity is Activity.IDLE  # not bold
    assert _judge("> hello\n" + error.replace("refused", "missing") + BOX).activity is Activity.IDLE  # other words
    assert _judge(error + "> fine now\nFine.\n" + BOX).activity is Activity.IDLE  # of the turn before
    assert _judge(error + BOX).activity is Activity.AUTH_ERROR  # what it began with has scrolled off


def test_the_title_alone_is_no_evidence() -> None:
    assert _judge(BOX, "* busy").activity is Activity.WORKING
    assert _judge("", "* busy") == Judgement()
    assert _judge(BOX + "$ ls\n", "* busy") == Judgement()


def test_the_first_rule_wins_and_the_last_row_can_be_asked_for() -> None:
    asked = _judge("> hello\n── Which one? ──\n1. this\n2. that\n\n" + BOX)
    assert asked == Judgement(Activity.WAITING_INPUT, "asks", "> hello Which one?")
    assert _judge("> hello\n1. this\n2. that\nor not\n" + BOX).activity is Activity.IDLE


def test_a_long_text_is_cut() -> None:
    text = _judge("> " + "word " * 200 + "\n1. this\n" + BOX).text
    assert text is not None
    assert (len(text), text[-1]) == (LONGEST_TEXT, "…")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("^=+$", "("), "is no regular expression"),
        (("'refused for'", "'('"), "is no regular expression"),
        (('starts = ["sent"]', 'starts = ["send"]'), "there is no kind of row 'send'"),
        (('above = "box"', 'above = "bix"'), "expected a region that stands before it, found 'bix'"),
        (('region = "turn"', 'region = "town"'), "there is no region town"),
        (("bar = [", "bor = ["), "has no group bor"),
        (('activity = "idle"', 'activity = "idol"'), "activity"),
        (('name = "idle"', 'nome = "idle"'), "nome"),
        (('tried = "1.0"', "tried ="), "Invalid"),
    ],
)
def test_what_is_wrong_with_rules_is_said(change: tuple[str, str], words: str) -> None:
    with pytest.raises(RulesError, match=words):
        parse_rules(RULES.replace(*change, 1))


def test_built_in_rules_are_for_the_harnesses_with_a_screen_of_their_own() -> None:
    assert harnesses_with_rules() == ["claude-code", "codex", "gemini-cli", "opencode"]
    assert rules_of("custom") is None


def test_a_third_party_brings_rules_by_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, info = tmp_path / "acme_rules", tmp_path / "acme-1.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").touch()
    (package / "screen.toml").write_text(RULES)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{rules_module.GROUP}]\nacme = acme_rules\nbroken = acme_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    rules_of.cache_clear()
    acme = rules_of("acme")
    assert acme is not None
    assert judge(acme, read_rows(BOX), "").activity is Activity.IDLE
    with pytest.raises(RulesError, match="the screen rules of broken cannot be used: No module named"):
        rules_of("broken")


def test_the_command_says_the_activity_first(capsys: pytest.CaptureFixture[str]) -> None:
    idle = _screen("claude-code", Activity.IDLE)
    assert main(["--harness", "claude-code", "--title", "✳ Claude Code", idle]) == 0
    assert capsys.readouterr().out == "idle\n"
    assert main(["--harness", "claude-code", "--title", "⠂ Claude Code", idle, idle]) == 0
    assert capsys.readouterr().out == f"working {idle}\nworking {idle}\n"


def test_the_command_gives_the_rule_and_the_text_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    refused = _screen("codex", Activity.AUTH_ERROR)
    assert main(["--harness", "codex", "--title", "work", "--json", refused]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["file"], document["activity"], document["rule"]) == (refused, "auth_error", "refused")
    assert document["text"].startswith("unexpected status 401 Unauthorized")


def test_the_command_runs_as_a_module_and_reads_stdin() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agentd.turns.judge", "--harness", "opencode", "-"],
        input=b"$ \xff\n",
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"unknown\n"


def test_the_command_says_what_it_cannot_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--harness", "codex", str(tmp_path / "none")]) == 1
    assert "No such file" in capsys.readouterr().err
    (tmp_path / "index.jsonl").write_text('{"file": "x"}\n')
    assert main(["--table", str(tmp_path)]) == 1
    assert "index.jsonl, line 1" in capsys.readouterr().err
    for wrong in (["--harness", "nobody", "x"], ["x"], []):
        with pytest.raises(SystemExit) as exit_:
            main(wrong)
        assert exit_.value.code == 2
    assert "there are no screen rules for nobody; there are for claude-code" in capsys.readouterr().err
