"""Whose a token is, and what it is for."""

from __future__ import annotations

import pytest

from agentd.gateway.model.caller import NOBODY, Token, caller_of
from agentd.model.gateway import Scope

TOKENS = [Token.of("first"), Token.of("second", "alice", [Scope.CHAT]), Token.of("third", "bob", [Scope.READ])]


def test_a_token_tells_who_asks() -> None:
    alice = caller_of("second", TOKENS)
    assert alice is not None
    assert (alice.user, alice.sees_all) == ("alice", False)
    assert [scope for scope in Scope if alice.may(scope)] == [Scope.CHAT, Scope.READ]


@pytest.mark.parametrize("shown", ["", "First", "first ", "firs", "alice", "\udcff"])
def test_anything_else_is_nobodys(shown: str) -> None:
    assert caller_of(shown, TOKENS) is None


def test_a_user_sees_what_is_their_own() -> None:
    alice = TOKENS[1].caller
    assert alice.sees("alice")
    assert not alice.sees("bob")
    assert not alice.sees(None)


def test_an_administrator_sees_all() -> None:
    assert all(each.sees(owner) for each in (NOBODY, TOKENS[0].caller) for owner in ("alice", None))


def test_what_tells_callers_apart_is_not_their_token() -> None:
    names = {token.caller.token for token in TOKENS}
    assert len(names) == 3
    for token in TOKENS:
        assert not names & {token.digest.hex(), token.digest.hex()[:32]}
        assert token.digest.hex() not in repr(token)
