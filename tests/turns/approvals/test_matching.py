"""The first rule that is about a request decides; one that is not sure allows nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.model.approvals import ApprovalAction, ApprovalRule
from agentd.turns.approvals.asking import asked_of, given_of, resolved_paths
from agentd.turns.approvals.matching import Asked, AskedPath, Folder, Match, Verdict, decide
from agentd.turns.approvals.shell import read_line
from agentd.turns.conversation import Request

ALLOW, DENY, ASK = ApprovalAction
STATUS = ApprovalRule("status", ALLOW, commands=("git status*", "npm test"))
NO_RM = ApprovalRule("no-rm", DENY, commands=("rm *", "git push *"))


def command(line: str, tool: str = "Bash") -> Asked:
    return Asked("a", tool, known=True, script=read_line(line))


def says(verdict: Verdict) -> tuple[ApprovalAction | None, str | None]:
    return verdict.action, None if verdict.rule is None else verdict.rule.name


@pytest.mark.parametrize(
    "line",
    [
        "git status",
        "git status --short",
        "git status-x",
        "'git' \"status\" -s",
        "npm test",
        "git status && npm test; git status | git status -s\nnpm test",
        "bash -lc 'git status && npm test'",
    ],
)
def test_plain_commands_are_allowed(line: str) -> None:
    assert says(decide([STATUS], command(line))) == (ALLOW, "status")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "git",
        "git push",
        "git status; rm -rf /",
        "git status;rm -rf /",
        "git status && rm -rf /",
        "git status || rm -rf /",
        "git status | sh",
        "git status & rm -rf /",
        "git status\nrm -rf /",
        "git status $(rm -rf /)",
        "git status `rm -rf /`",
        'git status "`rm -rf /`"',
        "git status > /etc/passwd",
        "git status <(rm -rf /)",
        "git st''atus; rm",
        "./git status",
        "/tmp/git status",
        "GIT_PAGER=sh git status",
        "npm test now",
        "npm 'test '",
        "git status \\\n; rm -rf /",
        "bash -c 'git status; rm -rf /'",
        "bash -c 'git status' x",
        "./bash -c 'git status'",
        "eval git status",
    ],
)
def test_whatever_else_is_in_a_line_is_not_allowed(line: str) -> None:
    assert says(decide([STATUS], command(line))) == (None, None)


@given(st.text(alphabet=" ;&|$`'\"\\\n()<>{}*#=rmgitsatu-/", max_size=40))
def test_nothing_behind_an_allowed_command_is_allowed_unless_it_is_one(rest: str) -> None:
    script = read_line(f"git status{rest}")
    verdict = decide([STATUS], Asked("a", "Bash", known=True, script=script))
    if verdict.action is ALLOW:
        assert script.doubt is None
        for each in script.commands:
            assert each.words[0] == "git"
            assert str(each.words[1]).startswith("status")


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("rm -rf /", DENY),
        ("/bin/rm -rf /", DENY),
        ("r''m -rf /", DENY),
        ("ls; \\rm x", DENY),
        ("ls > /tmp/x; rm x", DENY),
        ("git push origin main", DENY),
        ("bash -c 'ls; rm x'", DENY),
        ("$(echo rm) -rf /", ASK),
        ("sudo rm -rf /", ASK),
        ("find . -exec rm {} +", ASK),
        ("echo x | xargs rm", ASK),
        ("sh script.sh", ASK),
        ("ls $HOME", ASK),
        ("git $x origin", ASK),
        ("ls", None),
        ("rmdir x", None),
        ("git pull", None),
    ],
)
def test_a_denied_command_is_found_or_somebody_is_asked(line: str, wanted: ApprovalAction | None) -> None:
    assert decide([NO_RM], command(line)).action is wanted


def test_the_first_rule_that_is_about_it_decides() -> None:
    everything = ApprovalRule("all", ALLOW, tools=("bash",))
    verdict = decide([NO_RM, STATUS, everything], command("ls"))
    assert says(verdict) == (ALLOW, "all")
    assert [each.match for each in verdict.considered] == [Match.NO, Match.NO, Match.YES]
    assert says(decide([everything, NO_RM], command("rm x"))) == (ALLOW, "all")
    assert says(decide([STATUS, NO_RM, everything], command("git status; rm x"))) == (DENY, "no-rm")
    unsure = decide([NO_RM, everything], command("$x"))
    assert says(unsure) == (ASK, "no-rm")
    assert unsure.why == "rule no-rm: an expansion ($) may be one of its commands"


def test_a_rule_is_for_its_agents_and_tools() -> None:
    mine = ApprovalRule("mine", ALLOW, agents=("Review*",), tools=("Read", "mcp__docs__*"))
    assert decide([mine], Asked("reviewer-0", "read", known=True)).action is ALLOW
    assert decide([mine], Asked("reviewer-0", "mcp__docs__find", known=False)).action is ALLOW
    assert decide([mine], Asked("writer", "Read", known=True)).action is None
    assert decide([mine], Asked("reviewer-0", "Write", known=True)).action is None
    assert decide([mine], Asked("reviewer-0", "", known=True)).action is None, "which tool it is, is not known"
    own = ApprovalRule("own", ALLOW, declared=frozenset({"b"}))
    assert decide([own], Asked("B", "Read", known=True)).action is ALLOW
    assert decide([own], Asked("a", "Read", known=True)).action is None, "a drop-in's rules are for its own agents"


def test_what_is_not_known_is_not_allowed_and_not_passed_over() -> None:
    unknown = Asked("a", "apply_patch", known=False)
    everything = ApprovalRule("all", ALLOW)
    assert says(decide([NO_RM, everything], unknown)) == (ASK, "no-rm")
    assert says(decide([STATUS], unknown)) == (None, None)
    assert says(decide([everything], unknown)) == (ALLOW, "all")


def files(*paths: str, workdir: str = "/w", leads_to: str | None = "") -> Asked:
    found = tuple(AskedPath(path, path if leads_to == "" else leads_to) for path in paths)
    return Asked("a", "Edit", known=True, paths=found, workdir=Folder(workdir, workdir))


SRC = ApprovalRule("src", ALLOW, paths=("src/**", "*.md"))
NO_ETC = ApprovalRule("no-etc", DENY, paths=("/etc/**", "**/.env", "secrets/*"))


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (files("/w/src/a.py"), ALLOW),
        (files("/w/src/deep/er/a.py"), ALLOW),
        (files("/w/README.md"), ALLOW),
        (files("/w/docs/README.md"), None),
        (files("/w/src/a.py", "/w/other"), None),
        (files("/w/src/../../etc/passwd"), None),
        (files("/w/src/../src/a.py"), None),
        (files("/w/src/link", leads_to="/etc/passwd"), None),
        (files("/w/src/link", leads_to=None), None),
        (files("/elsewhere/src/a.py"), None),
        (files("/w*/src/a.py", workdir="/w*"), ALLOW),
        (files("/wx/src/a.py", workdir="/w*"), None),
        (command("cat src/a.py"), None),
    ],
)
def test_only_files_that_match_as_written_and_as_they_lead_are_allowed(
    asked: Asked, wanted: ApprovalAction | None
) -> None:
    assert decide([SRC], asked).action is wanted


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (files("/etc/passwd"), DENY),
        (files("/w/../etc/passwd"), DENY),
        (files("/w/link", leads_to="/etc/passwd"), DENY),
        (files("/w/.env"), DENY),
        (files("/w/a/b/.env"), DENY),
        (files("/w/secrets/x"), DENY),
        (files("/w/secrets/x/y"), None),
        (files("/w/x", leads_to=None), ASK),
        (files("/w/src/a.py"), None),
        (command("cat /etc/passwd"), None),
    ],
)
def test_a_denied_file_is_found_however_it_is_written(asked: Asked, wanted: ApprovalAction | None) -> None:
    assert decide([NO_ETC], asked).action is wanted


def request(name: str, **arguments: object) -> Request:
    return Request("r", "", question=False, asked=0.0, name=name, arguments=arguments or None)


def test_what_a_tool_is_given_is_read_of_its_arguments() -> None:
    assert given_of(request("Bash", command="ls")).script == read_line("ls")
    assert given_of(request("exec_command", command=["bash", "-lc", "ls"])).script == read_line("ls")
    assert given_of(request("Edit", file_path="a.py", old_string="x")).files == ("a.py",)
    for unknown in (
        request("Bash"),
        request("Bash", command=5),
        request("Bash", command="ls", dangerouslyDisableSandbox=True),
        request("mcp__fs__write", path="a"),
        request("Edit", file_path=["a"]),
        request("Edit", file_path="a\0b"),
    ):
        assert not given_of(unknown).known
    nothing = given_of(request("WebFetch", url="http://x"))
    assert (nothing.known, nothing.files, nothing.script) == (True, (), None)


def test_symbolic_links_are_followed(tmp_path_factory: pytest.TempPathFactory) -> None:
    workdir = tmp_path_factory.mktemp("w").resolve()
    (workdir / "src").mkdir()
    (workdir / "src" / "out").symlink_to("/etc")
    for path, wanted in (("src/new.py", ALLOW), ("src/out/passwd", None), (f"{workdir}/src/x", ALLOW)):
        asking = request("Write", file_path=path)
        found = resolved_paths(given_of(asking), str(workdir))
        verdict = decide([SRC], asked_of("a", asking, given_of(asking), found))
        assert verdict.action is wanted
        assert "/etc" not in verdict.considered[0].why
