"""Ids of what agents ask, where their programs give it none."""

from __future__ import annotations

from dataclasses import fields

from agentd.turns.claude.dialogs import Dialogs
from agentd.turns.claude.watch import ClaudeWatch
from agentd.turns.codex.dialogs import Dialogs as CodexDialogs
from agentd.turns.custom.adapter import CustomWatch
from agentd.turns.gemini.watch import GeminiWatch
from agentd.turns.request_numbers import request_numbers
from tests.support.waiting import wait_for


def test_a_later_agentd_gives_no_number_of_an_earlier_one() -> None:
    first = request_numbers()
    given = [next(first), next(first)]
    # It takes half a second to start.
    wait_for(lambda: next(request_numbers()) > given[-1], what="another one begins behind")


def test_whoever_numbers_what_is_asked_counts_on() -> None:
    for watch in (ClaudeWatch, Dialogs, CodexDialogs, CustomWatch, GeminiWatch):
        (numbers,) = (each for each in fields(watch) if each.name == "_numbers")
        assert numbers.default_factory is request_numbers, watch
