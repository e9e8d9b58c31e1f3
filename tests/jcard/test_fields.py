"""Every field of an agent table: its default, what it accepts, what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.jcard.table import AgentTable
from agentd.model.limits import OomPolicy
from agentd.model.order import After, Overlap, Schedule
from agentd.model.spec import AgentSpec, AgentType, ApplyWhen, Mode, Policy, RestartPolicy, SandboxSpec
from tests.jcard.loading import agent_of, agents_of, error_of, errors_of, load, warnings_of


def test_a_table_with_only_a_harness_has_every_default_of_the_contract() -> None:
    assert agents_of('[agent]\nharness = "claude-code"\n') == [
        AgentSpec(
            name="claude-code",
            harness="claude-code",
            session="claude-code",
            workdir=Path("/home/agent/workspace"),
            type=AgentType.NATIVE,
            mode=Mode.AUTO,
            prompt="",
            prompt_file=None,
            env={},
            secrets=None,
            enabled=True,
            command=(),
            args=(),
            model=None,
            restarted_at=None,
            sandbox=SandboxSpec(extra_packages=()),
            policy=Policy(
                restart=RestartPolicy.NO,
                max_restarts=0,
                restart_delay=3,
                restart_delay_max=300,
                restart_reset=600,
                success_exit_codes=(0,),
                timeout=None,
                grace_period=30,
                memory=None,
                memory_high=None,
                pid_limit=None,
                cpu=None,
                on_oom=None,
            ),
            source=Path("jcard.toml"),
        )
    ]


def test_every_field_reaches_the_agent() -> None:
    [agent] = agents_of(
        r"""
        [agent]
        name = "Reviewer_1"
        harness = "codex"
        type = "sandboxed"
        prompt = "line one\nline two"
        mode = "oneshot"
        prompt_file = "prompts/review.md"
        workdir = "/srv/code"
        restart = "on-failure"
        max_restarts = 2
        restart_delay = "300ms"
        restart_delay_max = "1m"
        restart_reset = "1h30m"
        success_exit_codes = [0, 130, 255]
        timeout = "2h"
        grace_period = "5s"
        session = "review"
        env = { A = "1", _b2 = "" }
        ports = ["PORT", "DB_PORT", "PORT"]
        secrets = ["TOKEN", "OTHER", "TOKEN"]
        replicas = 1
        enabled = false
        args = ["--flag", ""]
        model = "gpt-5"
        restarted_at = "2026-01-31T09:00:00Z"
        apply = "idle"
        apply_deadline = "8h"
        applied_at = "2026-01-31T10:00:00Z"
        priority = -3
        growth_notice = "512MiB"
        after = ["build:success"]
        schedule = " 0 9  * * 1-5"
        time_zone = "Europe/Berlin"
        catch_up = "8h"
        overlap = "queue"
        turns = false
        memory = "512MiB"
        memory_high = "400MiB"
        pid_limit = 64
        cpu = 1.5
        on_oom = "stop"
        extra_packages = ["git", "ripgrep"]
        """
    )
    assert agent == AgentSpec(
        name="Reviewer_1",
        harness="codex",
        session="review",
        workdir=Path("/srv/code"),
        type=AgentType.SANDBOXED,
        mode=Mode.ONESHOT,
        prompt="line one\nline two",
        prompt_file=Path("/etc/stereos/prompts/review.md"),
        env={"A": "1", "_b2": ""},
        ports=("PORT", "DB_PORT"),
        secrets=("TOKEN", "OTHER"),
        enabled=False,
        command=(),
        args=("--flag", ""),
        model="gpt-5",
        restarted_at="2026-01-31T09:00:00Z",
        sandbox=SandboxSpec(("git", "ripgrep")),
        policy=Policy(
            *(RestartPolicy.ON_FAILURE, 2, 0.3, 60, 5400, (0, 130, 255), 7200, 5),
            *(512 * 1024**2, 400 * 1024**2, 64, 1.5, OomPolicy.STOP),
            apply=ApplyWhen.IDLE,
            apply_deadline=28800,
            applied_at="2026-01-31T10:00:00Z",
            priority=-3,
            growth_notice=512 * 1024**2,
        ),
        turns=False,
        after=(After("build"),),
        schedule=Schedule("0 9 * * 1-5", "Europe/Berlin", 28800, Overlap.QUEUE),
        source=Path("jcard.toml"),
    )


def test_command_reaches_the_custom_harness() -> None:
    assert agent_of('command = ["sh", "-c", "echo {prompt}", ""]', "custom").command == (
        "sh",
        "-c",
        "echo {prompt}",
        "",
    )


def test_a_prompt_is_kept_byte_for_byte() -> None:
    assert agent_of(r'prompt = " -x $(a) `b` \"\t\u0001\u0000\n "').prompt == ' -x $(a) `b` "\t\x01\x00\n '


WRONG_TYPES = {
    "string": ("1", "true", "1.5", "[]", "{}", "2026-01-31", "12:00:00", "2026-01-31T09:00:00Z", "nan"),
    "integer": ('"1"', "true", "1.0", "[]", "{}", "2026-01-31", "inf"),
    "boolean": ('"true"', "1", "0", "[]", "{}"),
    "strings": ('"a"', "1", "true", "{}", "[1]", '["a", true]', "[[]]"),
    "destinations": ('"a:1"', "1", "true", "{}", "[1]", '["a:1", true]', "[[]]"),
    "integers": ("0", '"0"', "{}", '["0"]', "[true]", "[0.0]"),
    "budget": ('"5"', "5", "true", "[]", "{turns = true}", "{usd = 5.0}", "{day = 40}", '{turns = "1"}'),
    "stall": ('"5m"', "5", "true", "[]", "{model = 5}", '{tool = "5"}', '{action = "notify"}', "{action = [1]}"),
    "table": ('"A=1"', "1", "[]", "{A = 1}", "{A = true}", '{A = ["x"]}', '{A.B = "1"}'),
    "duration": ("30", "1.5", "true", "[]", "{}", "12:00:00", '"30"', '"-3s"', "-1", "inf", "nan"),
    "cores": ('"2"', '"150%"', "true", "[]", "{}", "-1", "0.001", "inf", "nan"),
    "size": ("true", "1.5", "[]", '"2G"', "-1", "2026-01-31"),
}
TYPES = {
    "name": "string",
    "harness": "string",
    "type": "string",
    "prompt": "string",
    "mode": "string",
    "prompt_file": "string",
    "workdir": "string",
    "repo": "string",
    "isolation": "string",
    "branch": "string",
    "base": "string",
    "role": "string",
    "restart": "string",
    "max_restarts": "integer",
    "restart_delay": "duration",
    "restart_delay_max": "duration",
    "restart_reset": "duration",
    "success_exit_codes": "integers",
    "timeout": "duration",
    "grace_period": "duration",
    "session": "string",
    "env": "table",
    "ports": "strings",
    "secrets": "strings",
    "replicas": "integer",
    "enabled": "boolean",
    "command": "strings",
    "args": "strings",
    "model": "string",
    "turns": "boolean",
    "resume": "boolean",
    "fork_from": "string",
    "restarted_at": "string",
    "apply": "string",
    "apply_deadline": "duration",
    "applied_at": "string",
    "after": "strings",
    "schedule": "string",
    "time_zone": "string",
    "catch_up": "duration",
    "overlap": "string",
    "priority": "integer",
    "reap": "string",
    "growth_notice": "size",
    "memory": "size",
    "memory_high": "size",
    "pid_limit": "integer",
    "cpu": "cores",
    "on_oom": "string",
    "on_usage_limit": "string",
    "budget": "budget",
    "place": "table",
    "stall": "stall",
    "extra_packages": "strings",
    "sandbox": "string",
    "network": "string",
    "network_allow": "destinations",
    "read_only_paths": "strings",
    "writable_paths": "strings",
}


def test_the_table_of_types_covers_every_field() -> None:
    assert list(TYPES) == list(AgentTable.model_fields), "give TYPES each field of AgentTable, in the order there"


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, type_ in TYPES.items() for value in WRONG_TYPES[type_]]
)
def test_a_value_of_the_wrong_type_is_an_error_at_its_place(field: str, value: str) -> None:
    table = {"name": '"x"', "type": '"sandboxed"', "harness": '"custom"', field: value}
    if field == "model":
        table["harness"] = '"codex"'
    text = "[agent]\n" + "".join(f"{key} = {written}\n" for key, written in table.items())
    line = 2 + list(table).index(field)
    result = load(text)
    assert result.agents == ()
    [problem] = result.errors
    assert problem.line == line
    assert problem.field is not None
    assert problem.field.startswith(field)
    assert "expected" in problem.message
    assert "\n" not in problem.message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ('restart = "sometimes"', 'restart: found "sometimes", expected one of "no", "on-failure", "always"'),
        (
            'restart = "on_failure"',
            'restart: found "on_failure", expected one of "no", "on-failure", "always"; did you mean "on-failure"?',
        ),
        ('apply = "later"', 'apply: found "later", expected one of "now", "idle", "ask"'),
        ("restart = false", 'restart: found false, expected one of "no", "on-failure", "always"'),
        (
            'mode = "one-shot"',
            'mode: found "one-shot", expected one of "auto", "oneshot", "interactive"; did you mean "oneshot"?',
        ),
        ('type = "docker"', 'type: found "docker", expected one of "native", "sandboxed"'),
        (
            "timeout = 30",
            'timeout: found 30, which has no unit: write "30s" for seconds; expected a duration such as "30s"',
        ),
        (
            'grace_period = "1d"',
            (
                'grace_period: found "1d", but the longest unit is the hour: write "24h"; '
                'expected a duration such as "30s", "1h30m" or "300ms"'
            ),
        ),
        (
            'fork_from = "a b"',
            'fork_from: found "a b", expected the id of a conversation, or CONVERSATION@TURN',
        ),
        ("max_restarts = -1", "max_restarts: found -1, expected at least 0"),
        ("replicas = -1", "replicas: found -1, expected at least 0"),
        ("replicas = 1001", "replicas: found 1001, expected at most 1000"),
        (f"replicas = 0x{'f' * 5000}", "replicas: found an integer of more than 64 bits, expected at most 1000"),
        ('enabled = "no"', 'enabled: found "no", expected true or false without quotes'),
        ('max_restarts = "3"', 'max_restarts: found "3", expected a whole number without quotes'),
        ("prompt = 5", "prompt: found an integer, expected a string (write it in quotes)"),
        ("session = 5", "session: found 5, expected a string (write it in quotes)"),
        ("restarted_at = 2026-01-31", "restarted_at: found a date or time, expected a string (write it in quotes)"),
        ('secrets = "A"', "secrets: found a string, expected an array, written in [ ]"),
        ('workdir = "a\\u0000"', 'workdir: found "a\\x00", expected a path without NUL characters'),
        (
            'prompt_file = "~bob/x"',
            'prompt_file: found "~bob/x", expected ~/…, an absolute path, or one relative to the file\'s folder',
        ),
    ],
)
def test_an_error_says_what_was_found_and_what_is_allowed(fields: str, message: str) -> None:
    assert error_of(fields) == f'jcard.toml:4:1: agent "x": {message}'


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        (
            'ports = ["P"]\nenv = { P = "1" }',
            '4:10: agent "x": ports[0]: found "P", which env sets; take it out of one',
        ),
        ("success_exit_codes = [0, 256]", '4:26: agent "x": success_exit_codes[1]: found 256, expected at most 255'),
        ("success_exit_codes = [-1]", '4:23: agent "x": success_exit_codes[0]: found -1, expected at least 0'),
        ('secrets = ["A", "B C"]', '4:17: agent "x": secrets[1]: expected an environment variable name'),
        ('args = ["a", 1]', '4:14: agent "x": args[1]: found an integer, expected a string'),
        ('env.A-B = "1"', '4:5: agent "x": env."A-B": expected an environment variable name'),
        ('env = {"" = "1"}', '4:8: agent "x": env."": expected an environment variable name'),
        ('env = {1A = "1"}', '4:8: agent "x": env."1A": expected an environment variable name'),
        ("env.PORT = 80", '4:5: agent "x": env.PORT: found an integer, expected a string (write it in quotes)'),
        ('env.A = "\\u0000"', '4:5: agent "x": env.A: the value contains a NUL character'),
        ('env.AGENTD_AGENT = "1"', '4:5: agent "x": env.AGENTD_AGENT: AGENTD_AGENT is set by agentd'),
        ('env.AGENTD_RUN_ID = "1"', '4:5: agent "x": env.AGENTD_RUN_ID: AGENTD_RUN_ID is set by agentd'),
    ],
)
def test_an_error_inside_an_array_or_table_names_the_element(fields: str, place: str) -> None:
    assert error_of(fields).startswith(f"jcard.toml:{place}")


def test_an_error_in_a_table_of_its_own_is_placed_there() -> None:
    [error] = errors_of('[[agents]]\nharness = "codex"\n\n[agents.env]\nGOOD = "1"\n"BAD KEY" = "1"\n')
    assert error.startswith('jcard.toml:6:1: agent "codex": env."BAD KEY": ')


@pytest.mark.parametrize("name", ["a", "A", "0", "a-b_c", "a" * 63])
def test_names_of_letters_digits_dashes_and_underscores_are_accepted(name: str) -> None:
    assert agent_of(f'name = "{name}"').name == name


@pytest.mark.parametrize("name", ["-a", "_a", "a b", "a.b", "a:b", "é", "a/b", "a\\n", "a" * 64])
def test_other_names_are_refused(name: str) -> None:
    [error] = errors_of(f'[agent]\nharness = "codex"\nname = "{name}"\n')
    assert ": name: found " in error
    assert "expected 1 to 63 letters, digits, - and _, beginning with a letter or digit" in error


@pytest.mark.parametrize("session", ["a", "A B", "é☃", "a=b", "a%b", "0", "_x", "a" * 255, "x@y", '\\"', "a/b"])
def test_sessions_that_tmux_keeps_as_they_are_are_accepted(session: str) -> None:
    assert agent_of(f'session = "{session}"').session == session.replace("\\", "")


@pytest.mark.parametrize(
    ("session", "reason"),
    [
        ("_agentd", "which agentd keeps for itself"),
        ("a.b", "which tmux changes"),
        ("a:b", "which tmux changes"),
        ("a#b", "which tmux changes"),
        ("a$b", "which tmux changes"),
        ("a\\\\b", "which tmux changes"),
        ("a\\tb", "without control or invisible characters"),
        ("a\\u007f", "without control or invisible characters"),
        ("a\\u200b", "without control or invisible characters"),
        ("a" * 256, "at most 255 characters"),
        *((f"{first}a", "which tmux would misread") for first in "=$@%-+!{~^"),
    ],
)
def test_sessions_that_tmux_would_change_or_misread_are_refused(session: str, reason: str) -> None:
    assert reason in error_of(f'session = "{session}"')


@pytest.mark.parametrize(
    ("workdir", "path"),
    [
        ("/srv/code", "/srv/code"),
        ("/srv//code/", "/srv/code"),
        ("//srv/code", "/srv/code"),
        ("/srv/../etc/./x", "/etc/x"),
        ("/../..", "/"),
        ("code", "/etc/stereos/code"),
        (".", "/etc/stereos"),
        ("../code", "/etc/code"),
        ("~", "/home/agent"),
        ("~/", "/home/agent"),
        ("~/code", "/home/agent/code"),
        ("~//code", "/home/agent/code"),
        ("./~", "/etc/stereos/~"),
        ("a~b", "/etc/stereos/a~b"),
        ("a$b", "/etc/stereos/a$b"),
    ],
)
def test_paths_become_absolute(workdir: str, path: str) -> None:
    assert agent_of(f'workdir = "{workdir}"').workdir == Path(path)
    assert agent_of(f'prompt_file = "{workdir}"').prompt_file == Path(path)


@pytest.mark.parametrize("zero", ["0s", "0", "0h"])
def test_a_timeout_of_zero_is_no_timeout(zero: str) -> None:
    assert agent_of(f'timeout = "{zero}"').policy.timeout is None


@pytest.mark.parametrize(("written", "cores"), [("1.5", 1.5), ("2", 2.0), ("0.01", 0.01), ("0", None), ('""', None)])
def test_cpu_is_a_number_of_cores(written: str, cores: float | None) -> None:
    assert agent_of(f"cpu = {written}").policy.cpu == cores


def test_a_cpu_in_other_units_is_answered_with_the_one_there_is() -> None:
    [error] = errors_of('[agent]\nharness = "codex"\ncpu = "150%"\n')
    assert error.endswith('cpu: found "150%", expected a number of cores such as 1.5, without a unit')


@pytest.mark.parametrize("table", ['memory = "1GiB"\n', 'type = "sandboxed"\n'])
def test_a_memory_high_that_comes_after_the_kill_is_warned_of(table: str) -> None:
    [warning] = warnings_of(f'[agent]\nname = "a"\nharness = "codex"\n{table}memory_high = "3GiB"\n')
    assert warning.startswith('jcard.toml:5:1: agent "a": memory_high: has no effect: "3GiB" is not below memory, ')


def test_pid_limit_is_not_negative() -> None:
    [error] = errors_of('[agent]\nharness = "codex"\ntype = "sandboxed"\npid_limit = -1\n')
    assert error.endswith("pid_limit: found -1, expected at least 0")


def test_a_missing_harness_is_answered_with_the_registered_ones() -> None:
    [error] = errors_of('# nothing\n[[agents]]\nprompt = "x"\n')
    assert error == (
        'jcard.toml:2:1: agent "agents[0]": harness: missing, expected one of "claude-code", "codex", "custom"'
    )


def test_an_unknown_harness_is_answered_with_the_registered_ones_and_the_closest() -> None:
    [error] = errors_of('[agent]\nharness = "cluade-code"\n')
    assert error == (
        'jcard.toml:2:1: agent "cluade-code": harness: found "cluade-code", '
        'expected one of "claude-code", "codex", "custom"; did you mean "claude-code"?'
    )


def test_a_model_is_refused_where_the_harness_has_no_flag_for_it() -> None:
    [error] = errors_of('[agent]\nharness = "custom"\nmodel = "m"\n')
    assert error.startswith('jcard.toml:3:1: agent "custom": model: the harness "custom" has no flag for a model')


def test_a_command_is_refused_where_the_harness_has_its_own() -> None:
    [error] = errors_of('[agent]\nharness = "codex"\ncommand = ["x"]\n')
    assert error == (
        'jcard.toml:3:1: agent "codex": command: the harness "codex" has its own command line; '
        'use args to add to it, or a harness that takes a command: "custom"'
    )
    assert agent_of("command = []").command == ()


def test_a_command_without_a_program_is_refused() -> None:
    [error] = errors_of('[agent]\nharness = "custom"\ncommand = ["", "x"]\n')
    assert error.endswith("command: found an empty first element, expected the program's name")


@pytest.mark.parametrize(
    ("fields", "line", "field"),
    [
        ('restart_delay = "10m"', 3, "restart_delay"),
        ('restart_delay_max = "1s"', 3, "restart_delay_max"),
        ('restart_delay = "10m"\nrestart_delay_max = "5m"', 4, "restart_delay_max"),
    ],
)
def test_a_first_delay_over_the_cap_is_a_warning(fields: str, line: int, field: str) -> None:
    [warning] = warnings_of(f'[agent]\nharness = "codex"\n{fields}\n')
    assert warning.startswith(f'jcard.toml:{line}:1: agent "codex": {field}: restart_delay "')
    assert "is over restart_delay_max" in warning


def test_what_a_sandbox_shows_is_taken_from_the_files_folder_and_the_home() -> None:
    agent = agent_of(
        'type = "sandboxed"\nnetwork = "none"\nsandbox = "bubblewrap"\n'
        'read_only_paths = ["~/.gitconfig"]\nwritable_paths = ["cache", "/srv/../var/x"]'
    )
    sandbox = agent.sandbox
    assert (sandbox.network, sandbox.kind) == ("none", "bubblewrap")
    assert [Path(path).is_absolute() for path in sandbox.read_only_paths] == [True]
    assert sandbox.read_only_paths[0].endswith("/.gitconfig")
    assert sandbox.writable_paths[0].endswith("/cache")
    assert sandbox.writable_paths[1] == "/var/x"


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        ('apply_deadline = "1h"', 'apply_deadline: has no effect with apply = "now"'),
        ('apply = "idle"\nturns = false', "apply: turns = false: it is never known to be idle"),
        ('apply = "idle"\nturns = false\napply_deadline = "1h"', None),
        ('apply = "ask"\nturns = false', None),
    ],
)
def test_a_wait_that_would_not_begin_or_never_end_is_a_warning(fields: str, warning: str | None) -> None:
    found = warnings_of(f'[agent]\nname = "x"\nharness = "codex"\n{fields}\n')
    assert [warning in str(each) for each in found if warning is not None] == [True] * (warning is not None)


def test_reap_is_read_and_what_makes_it_idle_is_said() -> None:
    assert agent_of('command = ["x"]\nreap = "idle:1h30m"', "custom").policy.reap == 5400
    assert agent_of('command = ["x"]\ngrowth_notice = 0', "custom").policy.growth_notice is None
    for text, problem in (
        ('reap = "30m"', 'found "30m", expected "idle:" and a duration, such as "idle:30m"'),
        ('reap = "idle:soon"', "soon"),
        ('reap = "idle:10ms"', "expected at least idle:1s"),
        ('reap = "idle:30m"\nturns = false', "has no effect with turns = false"),
        ('reap = "idle:30m"\ntype = "sandboxed"', "has no effect in a sandbox"),
    ):
        found = load(f'[[agents]]\nname = "a"\nharness = "codex"\n{text}\n')
        assert any(problem in str(each) for each in found.problems), (text, found.problems)
