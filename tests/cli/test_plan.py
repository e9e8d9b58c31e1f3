from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from agentd.harness.registry import load_harnesses
from agentd.jcard.load import load_jcard
from agentd.model.plan_report import ObservedAgentView, PlannedOperation, PlanReport
from agentd.model.sandbox import SandboxStatus
from agentd.settings.context import load_context
from agentd.supervise.desired import resolve_launch
from tests.cli.support import HEALTH, Client, MemorySource, TmuxServer

KEY = bytes(range(16))

IN_FORCE = """
[[agents]]
name = "reviewer"
harness = "claude-code"
prompt = "review"
restart = "always"

[[agents]]
name = "builder"
harness = "custom"
command = ["make", "it so"]
prompt_file = "task.md"

[[agents]]
name = "idle"
harness = "codex"
enabled = false
"""


@pytest.fixture
def jcard(client: Client, source: MemorySource) -> Path:
    """The daemon's jcard, carried out."""
    path = client.folder / "etc" / "jcard.toml"
    path.parent.mkdir()
    path.write_text(IN_FORCE)
    (path.parent / "task.md").write_text("build it")
    source.health_now = replace(HEALTH, config=replace(HEALTH.config, path=str(path)))
    source.plan_now = PlanReport(
        (),
        (),
        (),
        observed(path),
        KEY.hex(),
        "agent",
        "/home/agent",
        "/home/agent/workspace",
        "/data",
        ["TOKEN"],
        None,
        None,
    )
    return path


def observed(path: Path) -> tuple[ObservedAgentView, ...]:
    """What a daemon that carried out the file sees; each agent receives a secret that the client does not know."""
    harnesses = load_harnesses().harnesses
    agents = load_jcard(
        path.read_bytes(), str(path), load_context(path, "agent", Path("/home/agent"), harnesses, Path("/data"))
    ).agents
    views = []
    for agent in agents:
        desired = resolve_launch(
            agent,
            prompt=agent.prompt_file.read_text() if agent.prompt_file else None,
            input_error=None,
            secrets={"TOKEN": "t"},
            harness=harnesses[agent.harness],
            user="agent",
            key=KEY,
        )
        state = "running" if agent.enabled else "disabled"
        views.append(
            ObservedAgentView(agent.name, state, desired.fingerprint, asdict(agent.policy), str(path), None, (), {})
        )
    return tuple(views)


def edited(jcard: Path, old: str, new: str) -> Path:
    text = jcard.read_text()
    assert old in text
    other = jcard.parents[1] / "other.toml"
    other.write_text(text.replace(old, new))
    return other


def test_without_a_file_the_daemons_own_operations_are_shown(client: Client, source: MemorySource) -> None:
    source.plan_now = replace(
        source.plan_now,
        operations=(
            PlannedOperation("start", "a", "declared", (), None, None, None, ()),
            PlannedOperation("stop", "b", "gone\x1b[2J", (), None, None, None, ()),
            PlannedOperation("restart", "c", "changed: argv", ("argv",), None, None, None, ("working", "attached")),
            PlannedOperation("change", "d", "changed: restart", ("restart",), None, None, None, ()),
            PlannedOperation("ponder", "e", "of a newer daemon", (), None, None, None, ()),
        ),
    )
    done = client("plan")
    assert done.status == 0
    assert done.rows == [
        ["+", "start", "a", "declared"],
        ["-", "stop", "b", "gone\\x1b[2J"],
        ["~", "restart", "c", "changed: argv (waits: working; attached)"],
        ["=", "change", "d", "changed: restart"],
        ["?", "ponder", "e", "of a newer daemon"],
    ]
    document = client("plan", "--json").document
    assert isinstance(document, dict)
    assert document["operations"][2] == {
        "action": "restart",
        "agent": "c",
        "reason": "changed: argv",
        "fields": ["argv"],
        "source": None,
        "sandbox": None,
        "sandbox_before": None,
        "waits": ["working", "attached"],
    }


def test_nothing_to_do_is_said_on_a_terminal_and_is_no_line_elsewhere(
    client: Client, jcard: Path, operator_tmux: TmuxServer
) -> None:
    assert client("plan").out == ""
    assert client("plan", "--json").document == {"operations": [], "resumes": [], "starts": []}
    operator_tmux.session("s", client.shell_words("plan", str(jcard)))
    assert "nothing to do" in operator_tmux.wait_for_text("s", "[status 0]")


def test_on_a_terminal_the_operations_are_summed_up(
    client: Client, source: MemorySource, operator_tmux: TmuxServer
) -> None:
    to_do = (("start", "a"), ("start", "b"), ("stop", "c"))
    operations = tuple(PlannedOperation(action, agent, "new", (), None, None, None, ()) for action, agent in to_do)
    source.plan_now = replace(source.plan_now, operations=operations)
    operator_tmux.session("s", client.shell_words("plan"))
    assert "3 operations: 2 to start, 1 to stop" in operator_tmux.wait_for_text("s", "[status 0]")


def test_the_first_limit_restarts_and_others_apply_in_place(client: Client, jcard: Path, source: MemorySource) -> None:
    limited = edited(jcard, 'restart = "always"', 'restart = "always"\nmemory = "1GiB"')
    assert client("plan", str(limited)).rows == [["~", "restart", "reviewer", "changed: limits"]]
    jcard.write_text(limited.read_text())
    source.plan_now = replace(source.plan_now, observed=observed(jcard))
    other = edited(jcard, 'memory = "1GiB"', 'memory = "2GiB"\ncpu = 1.5\non_oom = "stop"')
    assert client("plan", str(other)).rows == [["=", "change", "reviewer", "changed: memory, cpu, on_oom"]]
    unlimited = edited(jcard, 'memory = "1GiB"', "")
    assert client("plan", str(unlimited)).rows == [["=", "change", "reviewer", "changed: memory"]]


IDLE = '\n[[agents]]\nname = "idle"'
SANDBOXED = """
[[agents]]
name = "boxed"
harness = "custom"
command = ["make"]
type = "sandboxed"
network = "host"
writable_paths = ["/srv/cache"]
"""


@pytest.mark.thorough
def test_what_a_sandbox_lets_an_agent_do_and_what_changes_of_it_is_shown(
    client: Client, jcard: Path, source: MemorySource, operator_tmux: TmuxServer
) -> None:
    other = edited(jcard, IDLE, SANDBOXED + IDLE)
    document = client("plan", "--json", str(other)).document
    assert isinstance(document, dict)
    [operation] = document["operations"]
    assert operation["sandbox_before"] is None
    assert operation["sandbox"] == {
        "kind": None,
        "network": "host",
        "network_allow": [],
        "read_only_paths": [],
        "writable_paths": ["/home/agent/workspace", "/srv/cache"],
        "repository": None,
        "home": "/data/sandboxes/boxed",
        "extra_packages": [],
        "secrets": ["TOKEN"],
        "egress_secrets": {},
    }
    operator_tmux.session("s", client.shell_words("plan", str(other)))
    shown = operator_tmux.wait_for_text("s", "[status 0]")
    assert "may write /home/agent/workspace, /srv/cache, its home in /data/sandboxes/boxed" in shown
    jcard.write_text(other.read_text())
    source.plan_now = replace(
        source.plan_now,
        observed=tuple(
            replace(view, sandbox=SandboxStatus(**operation["sandbox"]) if view.name == "boxed" else None)
            for view in observed(jcard)
        ),
    )
    changed = SANDBOXED.replace('"host"', '"none"').replace("/srv/cache", "/srv/other")
    other.write_text(jcard.read_text().replace(SANDBOXED, changed))
    assert client("plan", str(other)).rows == [["~", "restart", "boxed", "changed: network, writable_paths"]]
    operator_tmux.session("t", client.shell_words("plan", str(other)))
    shown = operator_tmux.wait_for_text("t", "[status 0]")
    assert "network host -> none" in shown
    assert "writable_paths +/srv/other, -/srv/cache" in shown
    other.write_text(jcard.read_text().replace(SANDBOXED, SANDBOXED.replace('"sandboxed"', '"native"')))
    operator_tmux.session("u", client.shell_words("plan", str(other)))
    assert "bubblewrap, or else gvisor -> none: it may do what its user may" in operator_tmux.wait_for_text(
        "u", "[status 0]"
    )


@pytest.mark.parametrize(
    ("old", "new", "operation"),
    [
        ('prompt = "review"', 'prompt = "audit"', ["~", "restart", "reviewer", "changed: argv"]),
        ('"it so"', '"it now"', ["~", "restart", "builder", "changed: argv"]),
        ('restart = "always"', 'restart = "no"', ["=", "change", "reviewer", "changed: restart"]),
        ('name = "builder"', 'name = "builder"\nenabled = false', ["-", "stop", "builder", "disabled"]),
        ("enabled = false", "", ["+", "start", "idle", "enabled"]),
        ('restart = "always"', 'restart = "always"\nenv = {A = "1"}', ["~", "restart", "reviewer", "changed: env"]),
    ],
    ids=["argv", "argv-and-prompt-file", "policy", "disabled", "enabled", "env"],
)
def test_a_file_is_compared_with_what_the_daemon_observes(
    client: Client, jcard: Path, old: str, new: str, operation: list[str]
) -> None:
    # The relative prompt file is found beside the daemon's jcard, not beside this file.
    done = client("plan", edited(jcard, old, new))
    assert (done.status, done.rows) == (0, [operation]), done.err


def test_added_and_removed_agents_start_and_stop(client: Client, jcard: Path) -> None:
    rows = client("plan", edited(jcard, 'name = "reviewer"', 'name = "auditor"')).rows
    assert [row[:3] for row in rows] == [["+", "start", "auditor"], ["-", "stop", "reviewer"]]


def test_what_the_file_is_warned_of_is_said_beside_the_plan(client: Client, jcard: Path) -> None:
    other = client.folder / "other.toml"
    other.write_text(jcard.read_text() + '[[agnets]]\nname = "x"\nharness = "codex"\n')
    done = client("plan", other)
    assert done.status == 0
    assert f'warning: {other}:18:1: "agnets" declares no agents; did you mean [[agents]]?' in done.err


def test_an_agent_whose_prompt_file_cannot_be_read_is_left_alone(client: Client, jcard: Path) -> None:
    assert client("plan", edited(jcard, "task.md", "gone.md")).out == ""


@pytest.mark.parametrize(
    ("text", "found"),
    [(None, "no such file"), ("", "zero bytes"), ("[agent]\n", "harness"), ("[[agents", "other.toml:1")],
    ids=["missing", "empty", "no-harness", "syntax"],
)
def test_a_file_that_the_daemon_would_refuse_fails(client: Client, jcard: Path, text: str | None, found: str) -> None:
    other = jcard.parents[1] / "other.toml"
    if text is not None:
        other.write_text(text)
    done = client("plan", other)
    assert (done.status, done.out) == (1, "")
    assert found in done.err
