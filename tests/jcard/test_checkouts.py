"""The fields about git repositories and roles: what they mean together, and what is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.jcard.checks import check_branch
from agentd.model.spec import Checkout
from tests.jcard.loading import CONTEXT, agent_of, agents_of, error_of, errors_of

TREES = CONTEXT.data_dir / "worktrees"
WORKTREE = 'repo = "~/shop"\nisolation = "worktree"'


def test_a_worktree_is_the_workdir_with_a_branch_of_the_agents_name() -> None:
    agent = agent_of(WORKTREE)
    path = TREES / "claude-code"
    assert agent.checkout == Checkout(Path("/home/agent/shop"), path, "agentd/claude-code", None)
    assert agent.workdir == path
    assert agent_of(f'{WORKTREE}\nworkdir = "src/../api/"').workdir == path / "api"


def test_each_replica_has_its_own() -> None:
    agents = agents_of(f'[agent]\nname = "a"\nharness = "codex"\nreplicas = 2\n{WORKTREE}\nbase = "main"\n')
    assert [agent.checkout for agent in agents] == [
        Checkout(Path("/home/agent/shop"), TREES / f"a-{number}", f"agentd/a-{number}", "main") for number in (0, 1)
    ]
    named = agents_of(f'[agent]\nname = "a"\nharness = "codex"\nreplicas = 2\n{WORKTREE}\nbranch = "fix/it"\n')
    assert [agent.checkout and agent.checkout.branch for agent in named] == ["fix/it-0", "fix/it-1"]


def test_a_read_only_checkout_has_no_branch() -> None:
    checkout = agent_of('repo = "/srv/shop"\nisolation = "read_only"\nbase = "v1"').checkout
    assert checkout == Checkout(Path("/srv/shop"), TREES / "claude-code", None, "v1")
    assert checkout.read_only


def test_a_repository_without_isolation_is_the_workdir_itself() -> None:
    for isolation in ("", '\nisolation = "none"'):
        agent = agent_of(f'repo = "shop"{isolation}')
        assert (agent.checkout, agent.workdir) == (None, Path("/etc/stereos/shop"))
    assert agent_of('repo = "shop"\nworkdir = "api"').workdir == Path("/etc/stereos/shop/api")


def test_a_role_makes_the_workdir_a_workspace() -> None:
    agent = agent_of('role = "engineer"\nworkdir = "/srv/w"')
    assert (agent.role, agent.workdir, agent.checkout) == ("engineer", Path("/srv/w"), None)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ('isolation = "worktree"', 'isolation: found "worktree" without repo; name the git repository in repo'),
        ('isolation = "read_only"', 'isolation: found "read_only" without repo; name the git repository in repo'),
        ('isolation = "chroot"', 'isolation: found "chroot", expected one of "none", "worktree", "read_only"'),
        ('repo = "r"\nbranch = "b"', 'branch: has an effect only with repo and isolation = "worktree"'),
        ('repo = "r"\nbase = "b"', 'base: has an effect only with repo and isolation = "worktree"'),
        (
            'repo = "r"\nisolation = "read_only"\nbranch = "b"',
            'branch: has no effect with isolation = "read_only", which has no branch; remove it',
        ),
        (f'{WORKTREE}\nrole = "x"', "role: a workspace is no checkout; remove role, or isolation"),
        *(
            (f'{WORKTREE}\nworkdir = "{workdir}"', f'workdir: found "{workdir}", which is not inside the repository')
            for workdir in ("/srv", "~/x", "..", "a/../../b")
        ),
        (f'{WORKTREE}\nbase = "--upload-pack=x"', 'base: found "--upload-pack=x", expected a branch, tag or commit'),
        (f'{WORKTREE}\nbase = "a..b"', 'base: found "a..b", expected a branch, tag or commit'),
        ('role = "../x"', 'role: found "../x", expected 1 to 63 letters'),
    ],
)
def test_what_makes_no_sense_is_refused(fields: str, message: str) -> None:
    assert message in error_of(fields)


def test_two_agents_cannot_have_one_branch_of_one_repository() -> None:
    two = "".join(
        f'[[agents]]\nname = "{name}"\nharness = "codex"\nrepo = "{repo}"\nisolation = "worktree"\nbranch = "topic"\n'
        for name, repo in (("a", "shop"), ("b", "./shop"))
    )
    [error] = errors_of(two)
    assert 'agent "b": branch: found "topic", which is already the branch of agent "a"' in error
    assert len(agents_of(two.replace("./shop", "other"))) == 2


@given(
    st.one_of(
        st.text(min_size=1, max_size=8),
        st.lists(
            st.sampled_from(
                ["a", "/", ".", "..", "@", "{", "-", ".lock", "~", "^", ":", "?", "*", "[", "\\", " ", "é", "HEAD"]
            ),
            min_size=1,
            max_size=5,
        ).map("".join),
    )
)
def test_a_branch_that_is_taken_is_one_that_git_takes(name: str) -> None:
    try:
        check_branch(name)
    except ValueError:
        return
    done = subprocess.run(["git", "check-ref-format", "--branch", name], capture_output=True, check=False)
    assert done.returncode == 0
