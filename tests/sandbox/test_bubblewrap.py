"""Which mounts a sandbox is made of, and in which order."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from agentd.sandbox.bubblewrap import arguments
from agentd.sandbox.rules import Access, Rule, Sandbox

WORK = Path("/srv/work")


def mounts(*rules: Rule) -> list[str]:
    """The options between the read-only root and the workdir, each with its paths on one line."""
    words = arguments(Sandbox(rules, WORK, network=True), "bwrap")
    words = words[words.index("--ro-bind") + 3 : words.index("--chdir")]
    starts = [at for at, word in enumerate(words) if word.startswith("--")] + [len(words)]
    return [" ".join(words[start:end]) for start, end in pairwise(starts)]


def test_the_deepest_rule_decides() -> None:
    assert mounts(
        Rule(Path("/home/a/work"), Access.WRITE),
        Rule(Path("/home"), Access.EMPTY),
        Rule(Path("/home/a/work/secret"), Access.HIDDEN),
        Rule(Path("/home/a"), Access.WRITE, Path("/data/homes/x")),
    ) == [
        "--tmpfs /home",
        "--bind /data/homes/x /home/a",
        "--bind /home/a/work /home/a/work",
        "--tmpfs /home/a/work/secret",
        "--remount-ro /home/a/work/secret",
    ]


def test_of_two_rules_for_a_path_the_later_counts() -> None:
    assert mounts(Rule(WORK, Access.HIDDEN), Rule(WORK, Access.WRITE)) == ["--bind /srv/work /srv/work"]


def test_what_an_outer_mount_hides_is_not_hidden_again() -> None:
    run = Rule(Path("/run"), Access.EMPTY)
    assert mounts(run, Rule(Path("/run/agentd"), Access.HIDDEN), Rule(Path("/run/a.sock"), Access.HIDDEN_FILE)) == [
        "--tmpfs /run"
    ]


def test_what_a_mount_inside_of_an_empty_folder_shows_is_hidden() -> None:
    assert mounts(
        Rule(Path("/home"), Access.EMPTY),
        Rule(Path("/home/a"), Access.READ),
        Rule(Path("/home/a/secrets"), Access.HIDDEN),
    ) == ["--tmpfs /home", "--ro-bind /home/a /home/a", "--tmpfs /home/a/secrets", "--remount-ro /home/a/secrets"]


def test_names_on_the_way_to_what_is_hidden_cannot_be_moved_away() -> None:
    assert mounts(Rule(WORK, Access.WRITE), Rule(WORK / "conf/deep/jcard.toml", Access.HIDDEN_FILE)) == [
        "--bind /srv/work /srv/work",
        "--bind /srv/work/conf /srv/work/conf",
        "--bind /srv/work/conf/deep /srv/work/conf/deep",
        "--ro-bind /dev/null /srv/work/conf/deep/jcard.toml",
    ]


@pytest.mark.parametrize("network", [True, False])
def test_the_network_is_the_hosts_or_none(network: bool) -> None:
    words = arguments(Sandbox((), WORK, network), "/usr/bin/bwrap")
    assert words[0] == "/usr/bin/bwrap"
    assert ("--unshare-net" in words) is not network
    assert words[-3:] == ("--chdir", "/srv/work", "--")
    assert {"--unshare-user", "--unshare-pid", "--unshare-ipc", "--die-with-parent", "--seccomp"} <= set(words)
