"""``[[triggers]]``: what starts agents from outside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agentd.jcard.load import load_jcard
from agentd.jcard.secrets import Secrets, secrets_for, withheld_secrets
from agentd.model.order import Overlap
from agentd.model.triggers import FilePattern, Trigger, Webhook
from tests.jcard.loading import CONTEXT, agents_of, errors_of, load, warnings_of

AGENT = '[[agents]]\nname = "a"\nharness = "claude-code"\n'
TRIGGER = '[[triggers]]\nname = "inbox"\nagent = "a"\nfile = "~/in/*.csv"\n'
HOOK = '[[triggers]]\nname = "pr"\nagent = "a"\nsecret = "HOOK"\n'


def test_a_trigger_belongs_to_its_agent() -> None:
    other = AGENT.replace('"a"', '"b"')
    relative = TRIGGER.replace("inbox", "rel").replace("~/in/*.csv", "in/go") + 'overlap = "stop"\n'
    a, b = agents_of(AGENT + 'prompt = "read {{ trigger.path }}"\n' + TRIGGER + relative + other)
    assert b.triggers == ()
    assert a.triggers == (
        Trigger("inbox", "a", FilePattern(Path("/home/agent/in"), "*.csv"), Overlap.QUEUE),
        Trigger("rel", "a", FilePattern(Path("/etc/stereos/in"), "go"), Overlap.STOP),
    )
    assert str(a.triggers[0]) == "inbox: a file /home/agent/in/*.csv"


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ('[triggers]\nname = "x"\n', "found a table, expected tables: write [[triggers]]"),
        ('[[triggers]]\nagent = "a"\nfile = "/x/y"\n', "name is missing"),
        ('[[triggers]]\nname = "x"\nagent = "a"\n', "expected file or secret, and not both"),
        (TRIGGER + 'secret = "HOOK"\n', "expected file or secret, and not both"),
        (TRIGGER + 'events = ["push"]\n', "events: is for webhooks, which have a secret; this trigger has a file"),
        (HOOK.replace('"HOOK"', '"no name"'), "secret: "),
        (HOOK + 'inputs = { Url = "a" }\n', 'found "Url", expected a name of small letters'),
        (HOOK + 'inputs = { event = "a" }\n', 'found "event", expected a name of small letters'),
        (HOOK + 'inputs = { url = "a..b" }\n', 'found "a..b", expected a path such as "pull_request.html_url"'),
        (HOOK + "inputs = { " + ", ".join(f'a{n} = "b"' for n in range(17)) + " }\n", "expected at most 16"),
        ('[[triggers]]\nname = "x"\nfile = "/x/y"\n', "agent is missing"),
        (TRIGGER.replace("inbox", "in box"), 'found "in box"'),
        (TRIGGER.replace('"a"', '"c"'), 'found "c", expected an agent of this file: "a"'),
        (TRIGGER + 'fyle = "x"\n', "unknown key"),
        (TRIGGER + TRIGGER, 'found "inbox", which is already taken by the trigger at line 4'),
        (TRIGGER + 'overlap = "never"\n', 'found "never"'),
        (TRIGGER.replace("~/in/*.csv", "/in/*/x.csv"), "expected *, ? and [...] in the last part alone"),
        (TRIGGER.replace("~/in/*.csv", "/in/"), "expected files of a folder"),
        (TRIGGER.replace("~/in/*.csv", "/in/\\u0007x"), "expected a path without control characters"),
    ],
)
def test_what_is_wrong_is_refused(table: str, expected: str) -> None:
    assert any(expected in error for error in errors_of(AGENT + table))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ('prompt = "{{ trigger.url }}"', "found {{ trigger.url }}, expected what the trigger inbox brings: path, name"),
        ('prompt = "{{ trigger }}"', 'found "{{ trigger }}", expected a variable such as {{ trigger.path }}'),
        ("replicas = 2", "which has replicas"),
        ('schedule = "0 9 * * *"', "which has a schedule"),
    ],
)
def test_an_agent_that_cannot_be_started_so_is_refused(fields: str, expected: str) -> None:
    (error,) = errors_of(f"{AGENT}{fields}\n{TRIGGER}")
    assert expected in error


@pytest.mark.parametrize(
    "command", ['["sh", "-c", "{prompt}"]', '["bash", "-lc", "{prompt}"]', '["x", "--p={prompt}"]']
)
def test_what_comes_never_reaches_a_shell_s_command_line(command: str) -> None:
    agent = AGENT.replace("claude-code", "custom") + f"command = {command}\n"
    (error,) = errors_of(agent + TRIGGER)
    assert "{prompt} must be a word by itself, and not one that a shell reads" in error
    assert agents_of(agent)
    assert agents_of(AGENT.replace("claude-code", "custom") + 'command = ["sh", "-c", "x", "{prompt}"]\n' + TRIGGER)


def test_a_run_that_is_never_over_is_warned_of() -> None:
    (warning,) = warnings_of(AGENT + 'restart = "always"\n' + TRIGGER)
    assert 'restart: found "always" beside a trigger' in warning


def test_without_a_trigger_a_prompt_is_what_it_says() -> None:
    (agent,) = agents_of(AGENT + 'prompt = "{{ trigger.path }} {{ trigger }}"\n')
    assert agent.prompt == "{{ trigger.path }} {{ trigger }}"


def test_a_webhook_is_of_the_jcard_itself_and_its_secret_reaches_only_agents_that_list_it() -> None:
    text = AGENT + 'prompt = "{{ trigger.url }} {{ trigger.event }} {{ trigger.delivery }}"\n' + HOOK
    text += 'events = ["pull_request"]\ninputs = { url = "pull_request.html_url" }\n'
    other = '[[agents]]\nname = "b"\nharness = "codex"\nsecrets = ["HOOK"]\n'
    a, b = agents_of(text + other)
    webhook = Webhook("HOOK", ("pull_request",), (("url", "pull_request.html_url"),))
    assert a.triggers == (Trigger("pr", "a", webhook),)
    assert str(a.triggers[0]) == "pr: a webhook, POST /triggers/pr of agentd-gateway"
    secrets = Secrets({"HOOK": "s3cret", "KEY": "x"}, withheld=withheld_secrets([load(text)]))
    assert secrets_for(a, secrets) == {"KEY": "x"}
    assert secrets_for(b, secrets) == {"HOOK": "s3cret"}
    dropped = load_jcard(text.encode(), "jcard.d/x.toml", replace(CONTEXT, drop_in=True))
    (error,) = dropped.errors
    assert "is for jcard.toml itself" in str(error)
