"""The [[approve]] tables of a jcard."""

from __future__ import annotations

import pytest

from agentd.jcard.approve_tables import approvals_in_force, nobody_told
from agentd.model.approvals import ApprovalAction, ApprovalRule
from agentd.model.notification import NotifyRule
from tests.jcard.loading import load

GOOD = """
[[approve]]
decision = "allow"
agents = ["review*"]
tools = ["Bash"]
commands = ["git status*"]

[[approve]]
name = "ops"
decision = "ask"
paths = ["/etc/**"]
whom = ["ops"]
timeout = "10m"

[[agents]]
name = "Reviewer"
harness = "custom"
command = ["true"]
"""
FIRST = ApprovalRule("jcard.toml:2", ApprovalAction.ALLOW, ("review*",), ("Bash",), ("git status*",))
SECOND = ApprovalRule("ops", ApprovalAction.ASK, paths=("/etc/**",), whom=("ops",), timeout=600.0)


def test_rules_are_read() -> None:
    result = load(GOOD)
    assert result.problems == ()
    assert result.approvals == (FIRST, SECOND)


def test_those_of_the_jcard_come_first_and_those_of_drop_ins_are_for_their_own_agents() -> None:
    drop_in = load(GOOD)
    first, second, third, _ = approvals_in_force(load(GOOD), [None, drop_in])
    assert (first, second) == (FIRST, SECOND)
    assert third.declared == frozenset({"reviewer"})
    alone = approvals_in_force(None, [drop_in])
    assert [rule.declared for rule in alone] == [frozenset({"reviewer"})] * 2


def test_nobody_who_is_to_be_told_is_a_warning() -> None:
    told = NotifyRule(frozenset({"approval_asked"}), command=("x",), whom=("ops",))
    assert nobody_told([SECOND], [told]) == ()
    (warning,) = nobody_told([FIRST, SECOND], [])
    assert warning == '[[approve]] ops: nobody is told, no [[notify]] has whom = ["ops"]'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[approve]\ndecision = "allow"', "jcard.toml:1:1: found a table, expected tables: write [[approve]]"),
        ('[[approve]]\ncommands = ["x"]', "decision is missing"),
        ('[[approve]]\ndecision = "alow"', 'expected one of "allow", "deny", "ask"'),
        ('[[approve]]\ndecision = "allow"\ncomands = ["git"]', 'unknown key; did you mean "commands"?'),
        ('[[approve]]\ndecision = "allow"\ncommands = []', "expected at least one pattern"),
        ('[[approve]]\ndecision = "allow"\ncommands = ["*"]', "expected the name of a program first"),
        ('[[approve]]\ndecision = "allow"\ncommands = ["  "]', "expected the name of a program first"),
        ('[[approve]]\ndecision = "allow"\npaths = ["../x"]', "without ~ and .."),
        ('[[approve]]\ndecision = "allow"\npaths = ["~/x"]', "without ~ and .."),
        ('[[approve]]\ndecision = "allow"\ntools = [""]', "found nothing"),
        ('[[approve]]\ndecision = "deny"\ntimeout = "10m"', 'is for decision = "ask"; this rule says "deny"'),
        ('[[approve]]\ndecision = "allow"\nwhom = ["ops"]', 'is for decision = "ask"'),
        ('[[approve]]\ndecision = "ask"\ntimeout = "0s"', "expected more than 0"),
        ('[[approve]]\ndecision = "ask"\ntimeout = 10', "has no unit"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_of_the_file_counts(text: str, said: str) -> None:
    """A rule that lacks one of its conditions would be about more than was meant."""
    result = load(text + '\n[[agents]]\nname = "a"\nharness = "custom"\ncommand = ["true"]\n')
    assert (result.agents, result.approvals) == ((), ())
    assert any(said in str(problem) for problem in result.problems), result.problems
