"""The [[notify]] tables of a jcard."""

from __future__ import annotations

import pytest

from agentd.model.notification import NoticeFormat, NotifyRule
from tests.jcard.loading import load

GOOD = """
[[notify]]
on = ["waiting_permission", "failed"]
agents = ["review*"]
command = ["notify-send", "agentd", "{text}"]

[[notify]]
on = ["daemon_stopped"]
url = "https://hooks.example.com/T0/token"
format = "slack"
secret = "HOOK_KEY"
per_minute = 5
"""


def test_rules_are_read() -> None:
    result = load(GOOD)
    assert result.problems == ()
    assert result.notify == (
        NotifyRule(frozenset({"waiting_permission", "failed"}), ("review*",), ("notify-send", "agentd", "{text}")),
        NotifyRule(
            frozenset({"daemon_stopped"}),
            None,
            (),
            "https://hooks.example.com/T0/token",
            NoticeFormat.SLACK,
            "HOOK_KEY",
            5,
        ),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[notify]\non = []", "jcard.toml:1:1: found a table, expected tables: write [[notify]]"),
        ('[[notify]]\ncommand = ["x"]', "on is missing"),
        ('[[notify]]\non = ["failed"]', "expected command or url"),
        ('[[notify]]\non = ["failde"]\ncommand = ["x"]', 'did you mean "failed"?'),
        ('[[notify]]\non = "failed"\ncommand = ["x"]', "expected an array"),
        ('[[notify]]\non = ["failed"]\ncommand = "x"', "expected an array"),
        ('[[notify]]\non = ["failed"]\ncommand = ["x"]\nurl = "http://h/"', "either command or url"),
        ('[[notify]]\non = ["failed"]\nurl = "ftp://h/t0ken"', "expected a URL"),
        ('[[notify]]\non = ["failed"]\nurl = "http://h:99999/t0ken"', "expected a URL"),
        ('[[notify]]\non = ["failed"]\ncommand = ["x"]\nsecret = "KEY"', "signs what is posted"),
        ('[[notify]]\non = ["failed"]\ncommand = ["x"]\nper_minute = 0', "expected at least 1"),
        ('[[notify]]\non = ["failed"]\nurl = "http://h/"\nformat = "xml"', 'expected one of "json", "slack", "text"'),
    ],
)
def test_what_is_wrong_is_said_and_nothing_of_the_file_counts(text: str, said: str) -> None:
    result = load(text + '\n[[agents]]\nname = "a"\nharness = "custom"\ncommand = ["true"]\n')
    (error,) = result.errors
    assert said in str(error)
    assert "t0ken" not in str(error)
    assert (result.agents, result.notify) == ((), ())


def test_an_unknown_key_is_a_warning() -> None:
    result = load('[[notify]]\non = ["failed"]\ncomand = ["x"]\ncommand = ["x"]\n')
    (warning,) = result.warnings
    assert 'notify[0].comand: unknown key, ignored; did you mean "command"?' in str(warning)
