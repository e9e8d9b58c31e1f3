"""Every example of every help text can be typed as it stands there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from agentd.cli.agentctl.catalogue import SUMMARIES
from agentd.cli.agentctl.command import CommandLineError
from agentd.cli.agentctl.entry import build_parser, command_help
from agentd.cli.manual.topics import TOPICS
from tests.cli.talking import daemons_client
from tests.support.agents import jcard
from tests.support.daemon import Daemon

RECORDER = """\
#!/bin/sh
printf '%s\\0' "$@" >>"$CALLS"
printf '\\n\\0' >>"$CALLS"
"""


def examples() -> list[str]:
    """Give the lines that show how a command is called, in each help and in the topics."""
    texts = [command_help(name) for name in SUMMARIES] + [build_parser().format_help()]
    texts += [topic.text() for topic in TOPICS.values()]
    lines = (line.strip() for text in texts for line in text.partition("examples:")[2].splitlines())
    return sorted({re.split(r"  +", line)[0] for line in lines if "agentctl" in line and "COMMAND" not in line})


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """What a shell hands to agentctl in each example."""
    folder = tmp_path_factory.mktemp("examples")
    recorder = folder / "agentctl"
    recorder.write_text(RECORDER)
    recorder.chmod(0o755)
    for other in ("git", "jq", "man", "sudo", "tar", "xargs"):
        (folder / other).symlink_to(shutil.which("true") or "/bin/true")
    log = folder / "calls"
    script = "\n".join(f"( {line}\n) </dev/null >/dev/null 2>&1" for line in examples())
    env = {"PATH": f"{folder}:{os.environ['PATH']}", "CALLS": str(log), "HOME": str(folder)}
    subprocess.run(["bash", "-c", script], cwd=folder, env=env, check=False, timeout=60)
    return [call.split("\0")[:-1] for call in log.read_text().split("\n\0")[:-1]]


def test_every_example_is_understood(calls: list[list[str]]) -> None:
    shown = {word for call in calls for word in call[:1]}
    assert set(SUMMARIES) <= shown, "each command has an example"
    parser = build_parser()
    for call in calls:
        if call[-1:] == ["--help"]:
            continue
        parser.parse_args(call)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("send ci --no-enter draft", {"name": "ci", "text": "draft", "no_enter": True}),
        ("send --no-enter ci draft", {"name": "ci", "text": "draft", "no_enter": True}),
        ("send ci --timeout 3s draft --force", {"name": "ci", "text": "draft", "timeout": 3.0, "force": True}),
        ("send ci --force -- --no-enter", {"text": "--no-enter", "force": True, "no_enter": False}),
        ("send ci --no-enter -", {"text": "-", "no_enter": True}),
        ("keys ci --json Up Enter", {"keys": ["Up", "Enter"], "json": True}),
        ("keys ci Up --json Enter", {"keys": ["Up", "Enter"], "json": True}),
        ("keys ci -- - ;", {"keys": ["-", ";"]}),
        ("stop a --dry-run b", {"names": ["a", "b"], "dry_run": True}),
        ("stop --timeout=2s a --wait b", {"names": ["a", "b"], "wait": True, "timeout": 2.0}),
        ("worktrees clean --force a", {"action": "clean", "names": ["a"], "force": True}),
        ("worktrees --dry-run clean a --ignored b", {"names": ["a", "b"], "ignored": True}),
        ("unset a --wait timeout --dry-run model", {"keys": ["timeout", "model"], "wait": True}),
        ("status --json a", {"name": "a", "json": True}),
        ("logs -n 5 a -f", {"name": "a", "follow": True}),
        ("logs -fn5 a", {"name": "a", "follow": True}),
        ("logs -fn 5 a", {"name": "a", "follow": True}),
        ("set a --dry-run restart=always --wait model=x", {"fields": ["restart=always", "model=x"], "wait": True}),
    ],
)
def test_options_may_stand_anywhere_before_two_dashes(line: str, expected: dict[str, object]) -> None:
    parsed = vars(build_parser().parse_args(line.split()))
    assert {name: parsed[name] for name in expected} == expected


@pytest.mark.parametrize("line", ["send ci --no-such draft", "stop a --dry-rum b", "send ci a b", "keys ci --json"])
def test_what_is_wrong_is_still_refused(line: str) -> None:
    with pytest.raises(CommandLineError, match=r"unrecognized arguments|are required"):
        build_parser().parse_args(line.split())


def test_examples_that_need_a_daemon_run_with_one(daemon: Daemon, calls: list[list[str]]) -> None:
    names = {word for call in calls if call[0] in ("send", "keys", "interrupt", "screen") for word in call[1:2]}
    deaf = {"command": ["sh", "-c", "trap '' INT; exec cat"], "grace_period": "200ms"}
    daemon.write_jcard(jcard(*({"name": name, **deaf} for name in sorted(names))))
    daemon.start()
    for name in names:
        daemon.wait_state(name, "running")
    client = daemons_client(daemon)
    ran = [call for call in calls if call[0] in ("send", "keys", "interrupt", "screen", "status", "list", "plan")]
    for call in ran:
        if {"--watch", "-f", "--file"} & set(call) or (call[0] == "send" and len(call) == 2):
            continue
        done = client(*call)
        assert done.status in (0, 1), f"{call}: {done.err}"
        assert done.status == 0 or call[0] in ("status", "plan"), f"{call}: {done.err}"
