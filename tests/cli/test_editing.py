"""The editing commands as programs, without a daemon."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from tests.cli.support import Client, MemorySource, TmuxServer
from tests.support.masterblaster import as_written

TEAM = """\
# The team.
[[agents]]
name = "reviewer"
harness = "codex"  # for now

[[agents]]
name = "fixer"
harness = "codex"
replicas = 3
"""


@pytest.fixture
def team(client: Client) -> Client:
    (client.folder / "jcard.toml").write_text(TEAM)
    return client


def text(client: Client) -> str:
    return (client.folder / "jcard.toml").read_text()


def document(out: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", out)


def test_the_change_is_printed_as_a_diff_that_patch_takes(team: Client) -> None:
    done = team("set", "REVIEWER", "restart=always", "--dry-run", "max_restarts=3", 'args=["--fast"]', "env.LEVEL=2")
    assert (done.status, done.err) == (0, "")
    assert text(team) == TEAM
    assert done.out == (
        f"--- {team.folder}/jcard.toml\n+++ {team.folder}/jcard.toml\n@@ -2,6 +2,10 @@\n"
        ' [[agents]]\n name = "reviewer"\n harness = "codex"  # for now\n'
        '+restart = "always"\n+max_restarts = 3\n+args = ["--fast"]\n+env.LEVEL = "2"\n'
        ' \n [[agents]]\n name = "fixer"\n'
    )
    subprocess.run(["patch", "-s", team.folder / "jcard.toml"], input=done.out, text=True, check=True)
    patched = text(team)
    (team.folder / "jcard.toml").write_text(TEAM)
    assert team("set", "reviewer", "restart=always", "max_restarts=3", 'args=["--fast"]', "env.LEVEL=2").out == done.out
    assert text(team) == patched


def test_an_agent_is_added_with_everything_it_needs(client: Client) -> None:
    (client.folder / "prompt.md").write_text("Look.")
    done = client(
        *("add", "clock", "--harness", "custom", "restart_delay=5s", "--restart", "always", "--workdir", "/tmp"),
        *("--prompt-file", "prompt.md", "env.A=1", "env.B=x=y", "--", "sh", "-c", "date --utc"),
    )
    assert (done.status, done.err) == (0, "")
    assert text(client) == (
        '[[agents]]\nname = "clock"\nharness = "custom"\nprompt_file = "prompt.md"\nworkdir = "/tmp"\n'
        'restart = "always"\ncommand = ["sh", "-c", "date --utc"]\nrestart_delay = "5s"\nenv.A = "1"\nenv.B = "x=y"\n'
    )
    assert client("validate").status == 0


def test_a_life_of_edits_ends_where_it_began(team: Client) -> None:
    for call in (
        ["stop", "reviewer", "fixer"],
        ["start", "fixer", "reviewer"],
        ["restart", "reviewer"],
        ["unset", "reviewer", "restarted_at", "model"],
        ["scale", "fixer", "1"],
        ["scale", "fixer", "3"],
        ["rename", "reviewer", "critic"],
        ["add", "third", "--harness", "codex", "--model", "m"],
        ["rename", "critic", "reviewer"],
        ["remove", "third"],
    ):
        before = text(team)
        done = team(*call)
        assert (done.status, done.err) == (0, ""), call
        assert done.out.startswith("---"), call
        assert text(team) != before, call
    assert text(team) == TEAM


def test_an_edit_that_changes_nothing_says_so(team: Client) -> None:
    for call in (
        ["start", "reviewer"],
        ["scale", "fixer", "3"],
        ["rename", "fixer", "fixer"],
        ["unset", "fixer", "model", "env.A"],
        ["set", "fixer", "replicas=3"],
    ):
        done = team(*call)
        assert (done.status, done.err) == (0, ""), call
        assert done.out.startswith("nothing to change: "), call
    assert document(team("start", "reviewer", "--json").document)["changed"] is False
    assert text(team) == TEAM


def test_with_json_there_is_one_document(team: Client) -> None:
    done = team("scale", "fixer", "2", "--json")
    assert document(done.document) == {
        "changed": True,
        "dry_run": False,
        "file": f"{team.folder}/jcard.toml",
        "files": [f"{team.folder}/jcard.toml"],
        "diff": f"--- {team.folder}/jcard.toml\n+++ {team.folder}/jcard.toml\n@@ -6,4 +6,4 @@\n"
        ' [[agents]]\n name = "fixer"\n harness = "codex"\n-replicas = 3\n+replicas = 2\n',
        "agents": ["fixer-0", "fixer-1"],
        "removed": ["fixer-2"],
        "warnings": [],
        "observed": None,
        "error": None,
    }
    assert document(team("stop", "nobody", "--json").document)["error"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            ["set", "reviewer", "harness=codx"],
            'jcard.toml:4:1: agent "reviewer": harness: found "codx", expected one of',
        ),
        (["set", "reviewer", 'extra_packages=["git"]'], "extra_packages: has an effect only with"),
        (["set", "reviewer", "session=a.b"], "not edited: session: found "),
        (["set", "reviewer", "timeout=30"], 'write "30s" for seconds'),
        (["add", "x", "--harness", "codex", "restart=sometimes"], 'not edited: restart: found "sometimes"'),
        (["add", "x", "--harness", "codex", "--restart", "sometimes"], 'restart: found "sometimes"'),
        (["unset", "reviewer", "harness"], "harness: missing"),
        (["rename", "reviewer", "fixer"], 'there is an agent "fixer" already'),
        (["rename", "reviewer", "a b"], 'found "a b", expected 1 to 63 letters'),
        (["add", "Reviewer", "--harness", "codex"], 'there is an agent "reviewer" already'),
        (["stop", "fixer-2"], "fixer-2 is one of 3 replicas of fixer"),
        (["scale", "fixer", "0"], "agentctl stop fixer keeps the definition"),
        (["scale", "fixer", "1001"], "expected at most 1000"),
        (["stop", "reviwer"], 'there is no agent "reviwer": did you mean reviewer?'),
        (["remove", "zzz"], "declares reviewer, fixer"),
        (["--config", "/none/j.toml", "stop", "x"], "/none/j.toml: there is no such file: agentctl add begins one"),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, list) else "",
)
def test_what_cannot_be_edited_leaves_the_file_and_is_status_1(team: Client, call: list[str], message: str) -> None:
    done = team(*call)
    assert (done.status, done.out) == (1, "")
    assert message in done.err
    assert text(team) == TEAM


@pytest.mark.parametrize(
    ("assignment", "warning"),
    [
        ("network=none", "network: ignored, for type is not set and agents are then native"),
        ("env.BIN=$HOME/bin", "env.BIN: $HOME is not expanded here"),
        ("workdir=$HOME/src", 'workdir: variables are not expanded here; write "~/…"'),
    ],
)
def test_an_edit_says_what_the_file_is_warned_of_since(team: Client, assignment: str, warning: str) -> None:
    done = team("set", "reviewer", assignment)
    assert done.status == 0
    assert f'agent "reviewer": {warning}' in done.err
    assert team("set", "reviewer", "max_restarts=2").err == "", "it is news only once"


def test_a_jcard_that_writes_every_field_is_edited_like_any_other(client: Client) -> None:
    path = client.folder / "jcard.toml"
    path.write_text(as_written({"type": "native", "name": "a", "harness": "codex", "restart": "", "grace_period": ""}))
    calls = [
        ("set", "a", "timeout=1h", "session=s", "prompt="),
        ("scale", "a", "2"),
        ("restart", "a"),
        ("stop", "a"),
        ("start", "a"),
        ("unset", "a", "session", "restart"),
        ("rename", "a", "b"),
        ("add", "c", "--harness", "codex"),
    ]
    for call in calls:
        done = client(*call)
        assert (done.status, done.err) == (0, ""), call
    edited = path.read_text()
    assert '  timeout = "1h"\n' in edited
    assert '  prompt_file = ""\n' in edited
    done = client("validate", "--json")
    agents = cast("Sequence[Mapping[str, object]]", document(done.document)["agents"])
    assert [agent["name"] for agent in agents] == ["b-0", "b-1", "c"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (["set", "reviewer"], "expected key=value"),
        (["set", "reviewer", "restart"], "expected key=value, found"),
        (["set", "reviewer", "resart=no"], "did you mean restart?"),
        (["set", "reviewer", "model=a", "model=b"], "given twice"),
        (["set", "reviewer", "model=a", "--frob"], "unrecognized arguments: --frob"),
        (["add", "x"], "--harness"),
        (["add", "x", "--harness", "codex", "name=y"], "name is given twice"),
        (["add", "x", "--harness", "codex", "harness=codex"], "harness is given twice"),
        (["scale", "fixer", "two"], "expected a whole number from 1"),
        (["add", "x", "--harness", "custom"], "found none; expected it at the end, after --, as in: agentctl add x --"),
        (["add", "x", "--harness", "acp", "--prompt", "hi"], "agentctl add x --harness acp -- gemini --acp"),
        (["hire", "engineer", "x", "--harness", "custom"], "--harness: found custom, which runs a command"),
        (["stop", "reviewer", "--dry-run", "--wait"], "leave one of them out"),
        (["stop", "reviewer", "--wait", "--timeout", "3"], "duration"),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_status_2(team: Client, call: list[str], message: str) -> None:
    done = team(*call)
    assert (done.status, done.out) == (2, "")
    assert message in done.err
    assert text(team) == TEAM


def test_waiting_without_a_daemon_makes_the_edit_and_is_status_3(team: Client) -> None:
    done = team("stop", "reviewer", "--wait", "--json")
    assert done.status == 3
    assert "enabled = false" in text(team)
    answer = document(done.document)
    assert answer["changed"] is True
    assert f"the edit is made, but agentd is not reachable on {team.api_socket}" in str(answer["error"])
    assert "the edit is made" in done.err


def test_a_daemon_of_another_file_is_told(team: Client, source: MemorySource) -> None:
    done = team("stop", "reviewer")
    assert done.status == 0
    assert f"the daemon on {team.api_socket} runs /etc/stereos/jcard.toml, not {team.folder}/jcard.toml" in done.err
    done = team("start", "reviewer", "--wait")
    assert done.status == 1
    assert "the edit is made, but the daemon on" in done.err
    assert source.health().config.path == "/etc/stereos/jcard.toml"


def test_an_unnamed_agent_that_is_called_otherwise_afterwards_is_told(client: Client) -> None:
    (client.folder / "jcard.toml").write_text('[[agents]]\nharness = "codex"\n\n[[agents]]\nharness = "codex"\n')
    done = client("remove", "codex-0")
    assert done.status == 0
    assert "codex-1: has no name of its own" in done.err


def test_what_cannot_run_is_told(team: Client) -> None:
    done = team("set", "reviewer", "prompt_file=nowhere.md")
    assert done.status == 0
    assert "warning: reviewer cannot be launched: " in done.err
    assert "nowhere.md" in done.err


def test_two_at_once_lose_no_edit(team: Client) -> None:
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda number: team("set", "reviewer", f"env.V{number}=x"), range(6)))
    assert [each.status for each in done] == [0] * 6
    assert all(f'env.V{number} = "x"\n' in text(team) for number in range(6))


def test_on_a_terminal_the_diff_is_coloured(team: Client, operator_tmux: TmuxServer) -> None:
    operator_tmux.session("s", team.shell_words("stop", "reviewer", "--dry-run"))
    screen = operator_tmux.wait_for_text("s", "[status 0]")
    assert f"dry run: {team.folder}/jcard.toml is unchanged" in screen
    assert "\x1b[32m+enabled = false" in operator_tmux.screen("s", "-e")


NAMED = """
[[agents]]
name = "later"
harness = "codex"
after = ["reviewer:end", "fixer"]

[[approve]]
agents = ["reviewer", "fix*"]
decision = "deny"

[[pools]]
name = "few"
slots = 1
agents = ["Reviewer"]

[[notify]]
on = ["failed"]
agents = ["review*"]
command = ["true"]
"""


@pytest.mark.parametrize("edit", [("rename", "reviewer", "critic"), ("remove", "reviewer")])
def test_what_still_names_an_agent_that_is_gone_is_said(team: Client, edit: Sequence[str]) -> None:
    # A rule that denies would not hold for the renamed agent, and who waits for the old name would for ever.
    (team.folder / "jcard.toml").write_text(TEAM + NAMED)
    done = team(*edit)
    assert done.status == 0
    assert done.err.splitlines() == [
        "agentctl: warning: later waits for reviewer, which is not declared any more: change its after, too",
        'agentctl: warning: a table [[approve]] names "reviewer", which is no agent any more: change its agents, too',
        'agentctl: warning: a table [[notify]] names "review*", which is no agent any more: change its agents, too',
        'agentctl: warning: a table [[pools]] names "Reviewer", which is no agent any more: change its agents, too',
    ]


def test_an_edit_after_which_all_names_are_of_somebody_says_nothing(team: Client) -> None:
    (team.folder / "jcard.toml").write_text(TEAM + NAMED)
    assert team("scale", "fixer", "1").err == ""
    assert team("rename", "reviewer", "reviewer2").err.count("review*") == 0
