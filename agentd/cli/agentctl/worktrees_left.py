"""Report the worktrees that an edit of the jcard leaves behind, so that the work in them is not forgotten."""

from __future__ import annotations

import os
from collections.abc import Iterable

from agentd.cli.agentctl.answers import answers
from agentd.model.spec import AgentSpec, Checkout
from agentd.text.quoting import printable, some


def worktrees_left(before: Iterable[AgentSpec], after: Iterable[AgentSpec]) -> list[str]:
    """Say what becomes of existing worktrees that their agents no longer use.

    Parameters
    ----------
    before, after
        All agents declared before and after the edit.
    """
    now = {agent.name: agent.checkout for agent in after}
    had = [(agent.name, agent.checkout) for agent in before if agent.checkout is not None]
    there = [(name, checkout) for name, checkout in had if answers(checkout.path) and os.path.lexists(checkout.path)]
    left = [name for name, _ in there if now.get(name) is None]
    others = [name for name, checkout in there if _another(checkout, now.get(name))]
    told = []
    if left:
        folder = printable(str(next(checkout.path.parent for name, checkout in there if name == left[0])))
        many = len(left) > 1
        names, one = some(left), left[0] if not many else "NAME"
        told.append(
            f"the {'worktrees' if many else 'worktree'} of {names} {'stay' if many else 'stays'} in {folder}, with "
            f"{'their branches' if many else 'its branch'}: agentctl collect {one} copies the work in it, "
            f"agentctl worktrees clean {one} removes it unless work would be lost"
        )
    told += [
        f"{name} gets another worktree: the former one is removed if no work would be lost, else kept "
        f"as {name}~1 or the next number, with its branch; agentctl worktrees list shows it"
        for name in others
    ]
    return told


def _another(had: Checkout | None, has: Checkout | None) -> bool:
    if had is None or has is None:
        return False
    if not (answers(had.repo) and answers(has.repo)):
        return has.repo != had.repo or has.branch != had.branch
    # A repository that is gone is taken as moved.
    same_repository = not os.path.lexists(had.repo) or os.path.realpath(has.repo) == os.path.realpath(had.repo)
    return not same_repository or has.branch != had.branch
