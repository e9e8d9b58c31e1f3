from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from agentd import __version__
from agentd.cli.agentctl.commands.help import manual_page
from agentd.settings.daemon_parser import build_parser
from agentd.settings.flags import OPTIONS
from agentd.settings.go_flags import parse
from agentd.settings.options import accept_one_dash
from tests.cli.support import Client, Finished

GOOD = """
[agent]
harness = "claude-code"
prompt = "review"

[[agents]]
name = "build"
harness = "custom"
workdir = "/srv"
replicas = 2
enabled = false
"""


@pytest.fixture
def jcard(client: Client) -> Path:
    path = client.folder / "jcard.toml"
    path.write_text(GOOD)
    return path


def check(client: Client, *arguments: str | Path) -> Finished:
    return client("--check", *arguments, name="agentd")


def test_version_names_program_and_version(client: Client) -> None:
    assert client("--version", name="agentd").out == f"agentd {__version__}\n"


def test_help_names_every_flag_and_its_variable_and_has_examples(client: Client) -> None:
    text = client("--help", name="agentd").out
    assert "examples:" in text
    assert "runsc" not in text + manual_page("agentd.1"), "accepted, and nothing to recommend"
    for option in OPTIONS:
        assert f"{option.flag} " in text
        assert option.environment is None or option.environment in text


def test_check_lists_the_agents_of_a_good_file(client: Client, jcard: Path) -> None:
    done = check(client)
    assert done.status == 0
    assert done.rows[:3] == [
        ["claude-code", "claude-code", "claude-code", str(jcard.parent)],
        ["build-0", "custom (disabled)", "build-0", "/srv"],
        ["build-1", "custom (disabled)", "build-1", "/srv"],
    ]
    assert done.out.endswith(f"{jcard}: valid: 3 agents\n")


@pytest.mark.parametrize("spelling", ["-config {}", "--config {}", "-config={}", "--config={}"])
def test_a_long_flag_takes_one_dash_or_two(client: Client, jcard: Path, spelling: str) -> None:
    other = jcard.rename(jcard.with_name("other.toml"))
    assert check(client, *spelling.format(other).split(" ")).status == 0


def test_a_warning_is_printed_and_does_not_fail_the_check(client: Client, jcard: Path) -> None:
    jcard.write_text(GOOD + 'promt = "x"\n')
    done = check(client)
    assert done.status == 0
    assert re.search(rf'^warning: {jcard}:12:1: agent "build": promt: .*did you mean "prompt"', done.out, re.MULTILINE)
    assert done.out.endswith("valid: 3 agents, 1 warning\n")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, "no such file"),
        ("", "zero bytes"),
        ("[agent", "line|expected|invalid|Unexpected|:1:"),
        ('[agent]\nharness = "cluade-code"\n', "claude-code"),
        ('[agent]\nharness = "custom"\nprompt_file = "gone.md"\n', 'agent "custom": prompt_file: .*gone.md'),
        (
            '[agent]\nharness = "custom"\ntype = "sandboxed"\nextra_packages = ["git status"]\n',
            "extra_packages: expected",
        ),
    ],
    ids=["missing", "empty", "syntax", "harness", "prompt-file", "sandboxed"],
)
def test_an_error_fails_the_check_and_names_the_file(client: Client, jcard: Path, text: str | None, found: str) -> None:
    if text is None:
        jcard.unlink()
    else:
        jcard.write_text(text)
    done = check(client)
    assert done.status == 1
    assert re.search(f"^error: {jcard}.*({found})", done.out, re.MULTILINE), done.out
    assert re.search(rf"{jcard}: not valid: \d errors?$", done.out, re.MULTILINE)


def test_a_folder_is_no_config(client: Client) -> None:
    done = check(client, "--config", client.folder)
    assert done.status == 1
    assert "is a folder" in done.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--conf", "x"],
        ["-conf", "x"],
        ["--config"],
        ["--config="],
        ["--check=yes"],
        ["--debug=maybe"],
        ["-debug="],
        ["-runsc-path"],
        ["surplus", "--nope"],
        ["--interval", "5"],
        ["--launch-concurrency=0"],
        ["--on-shutdown", "pause"],
        ["--log-format=xml"],
        ["--tmux-socket", "/" + "x" * 107],
        ["--check", "--agent-user", "nobody-has-this-name"],
    ],
    ids=" ".join,
)
def test_bad_usage_is_status_2_with_a_reason(client: Client, jcard: Path, arguments: list[str]) -> None:
    assert jcard.exists()
    done = client(*arguments, name="agentd")
    assert done.status == 2
    assert done.out == ""
    assert "agentd: " in done.err


@pytest.mark.parametrize("flag", ["--on-shutdown=pause", "--log-format=xml"])
def test_what_a_flag_takes_is_shown_as_it_is_written(client: Client, flag: str) -> None:
    # Newer Pythons leave the quotes out.
    err = client(flag, name="agentd").err.replace("'", "")
    assert "choose from stop, keep" in err or "choose from console, json" in err


@pytest.mark.parametrize(
    ("flag", "meant"), [("-cofnig", "--config"), ("--api-sock=x", "--api-socket"), ("-debg", "--debug")]
)
def test_a_flag_that_there_is_not_is_answered_with_the_closest(client: Client, flag: str, meant: str) -> None:
    done = client(flag, "--check", name="agentd")
    assert done.status == 2
    assert f"unrecognized arguments: {flag.partition('=')[0]}" in done.err
    assert f"did you mean {meant}?" in done.err


@pytest.mark.parametrize(
    ("arguments", "ignored"),
    [
        (["start", "now"], "start now: no flag, and agentd has no commands; agentctl has"),
        (["--", "-x"], "-x: no flag, and agentd has no commands; agentctl has"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_a_go_unit_says_beside_our_flags_is_one_warning(
    client: Client, jcard: Path, arguments: list[str], ignored: str
) -> None:
    assert jcard.exists()
    done = check(client, *arguments)
    assert (done.status, done.err) == (0, f"agentd: warning: {ignored}\n")


@pytest.mark.parametrize(
    ("arguments", "debug"),
    [
        (["-debug"], True),
        (["-debug=true"], True),
        (["--debug=1"], True),
        (["--debug=T"], True),
        (["-debug=false"], False),
        (["-debug=0"], False),
        (["--debug=f"], False),
        (["-debug", "-debug=FALSE"], False),
        (["-debug=False", "-debug"], True),
        (["-debug=true", "true"], True),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_debug_is_read_as_gos_flag_package_reads_it(arguments: list[str], debug: bool) -> None:
    parser = build_parser()
    parsed, words = parse(parser, accept_one_dash([*arguments, "-interval", "9s"], parser))
    assert (parsed.debug, parsed.interval) == (debug, "9s")
    assert words == [word for word in arguments if not word.startswith("-")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may run agents as anybody")
def test_only_root_may_name_another_agent_user(client: Client, jcard: Path) -> None:
    assert jcard.exists()
    done = check(client, "--agent-user", "root")
    assert done.status == 2
    assert "only root" in done.err
