"""Every command that README, the tutorial and the how-to pages show prints what they say."""

from __future__ import annotations

import difflib
import re
import shutil
from pathlib import Path

import pytest
from textual.binding import Binding

from agentd.cli.agentctl.top.app import Top
from tests.docs.fleeting import FLEET, fleeting
from tests.docs.newcomer import ROOT, TOOLS, Newcomer, newcomer, plain_words
from tests.docs.picture import PICTURE, TOP_PICTURE, picture_lines, shown_by_top
from tests.docs.replay import PAGES, Command, commands, replayed, says
from tests.docs.scenes import INSTEAD, NOT_TYPED, README, SCENES, TOP
from tests.support.forked import ONLY_PROGRAMS
from tests.support.ray_nodes import needs_ray

_CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def shown_commands(page: str) -> list[Command]:
    return [command for block in _CONSOLE.findall((ROOT / page).read_text()) for command in commands(block)]


@pytest.mark.slow
@pytest.mark.pages
@pytest.mark.parametrize("page", [page for page in PAGES if page != FLEET])
def test_every_command_prints_what_the_page_says(page: str, session_folder: Path) -> None:
    text = (ROOT / page).read_text()
    for tool in TOOLS:
        if tool in text and shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed: apt-get install {tool}")
    # README with the programs, as they are installed; a start of agentctl costs a tenth as a fork.
    with newcomer(session_folder, forks=page != README and not ONLY_PROGRAMS) as someone:
        _holds(page, someone)


@pytest.mark.fleet
@pytest.mark.timeout(500)
@needs_ray
def test_every_command_of_a_fleet_prints_what_the_page_says() -> None:
    with fleeting() as someone:
        _holds(FLEET, someone)


def _holds(page: str, someone: Newcomer) -> None:
    text = (ROOT / page).read_text()
    now = replayed(page, someone)
    someone.leave()
    assert someone.daemon is None or someone.daemon.returncode == 0
    different = "\n".join(difflib.unified_diff(text.splitlines(), now.splitlines(), page, "now", lineterm=""))
    if different:  # an assert would cut it short
        pytest.fail(f"mend it, or write it anew: python -m tests.docs.replay {page}\n{different}", pytrace=False)


def test_exceptions_and_scenes_are_of_pages_as_they_are() -> None:
    """A command that left its page takes its exception with it."""
    typed = {(page, command.name) for page in PAGES for command in shown_commands(page)}
    assert set(NOT_TYPED) | set(INSTEAD) <= typed
    for page, title in SCENES:
        assert re.search(rf"^#+ {re.escape(title)}$", (ROOT / page).read_text(), re.MULTILINE), (page, title)


@pytest.mark.parametrize("page", PAGES)
def test_what_is_typed_stands_in_a_console_block(page: str) -> None:
    """Elsewhere nobody would hold it: indented, or in a fence of another kind."""
    outside = _CONSOLE.sub("", (ROOT / page).read_text())
    assert re.findall(r"^ *[$#] (?:agentctl|agentd|curl|git|tmux|cat|make) .*$", outside, re.MULTILINE) == []


def test_the_picture_shows_the_table_of_the_page() -> None:
    shown = "\n".join(picture_lines(PICTURE))
    (status,) = (each for each in shown_commands("README.md") if each.text == "agentctl status")
    assert says(tuple(filter(None, status.answer)), shown), f"draw it anew: python -m tests.docs.picture\n{shown}"


@pytest.mark.slow
@pytest.mark.pages
def test_the_picture_of_top_shows_what_top_shows(session_folder: Path) -> None:
    with newcomer(session_folder, forks=True) as someone:
        SCENES[TOP, "Look who needs you"](someone)
        shown = re.sub(r"\x1b\[[0-9;]*m", "", shown_by_top(someone))
        someone.leave()
    lines = [line.split() for line in shown.splitlines() if line.strip()]
    assert [_timeless(words) for words in lines] == [_timeless(line.split()) for line in picture_lines(TOP_PICTURE)]


def _timeless(words: list[str]) -> str:
    # Where a colour begins, the picture has a space.
    return re.sub(r" (?=,)|\b\d+s\b", "", " ".join(words))


def test_the_page_of_top_has_its_keys() -> None:
    pages = set(re.findall(r"`(.)`", "".join(re.findall(r"^\|([^|]*)\|", (ROOT / TOP).read_text(), re.MULTILINE))))
    keys = {key for binding in Top.BINDINGS if isinstance(binding, Binding) for key in binding.key.split(",")}
    assert pages == {"/" if key == "slash" else key for key in keys} - {"enter", "escape"}


def test_what_varies_is_the_same_and_nothing_else() -> None:
    page = ("a  ● running  25s  0  -  22815  custom  a  -",)
    assert says(page, "a  ● running  1s  0  -  7  custom  a  -\r\n".replace("\r", ""))
    assert not says(page, "a  ● running  25s  1  -  22815  custom  a  -\n")
    assert not says(page, "a  ● running  25s  0  3  22815  custom  a  -\n")
    assert says(("one", "…", "four"), "one\ntwo\nthree\nfour\n")
    assert not says(("one", "…", "four"), "one\ntwo\n")
    assert not says(("exit status 3",), "exit status 4\n")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("agentctl send a 'two words'   # said", ["agentctl", "send", "a", "two words"]),
        ('agentctl set a env.X="[0, 1]" b-0=1', ["agentctl", "set", "a", "env.X=[0, 1]", "b-0=1"]),
        ("agentctl status | head", None),
        ("agentctl send $name x", None),
        ("agentctl collect a --output ~/x", None),
        ("agentctl help > x", None),
        ("agentctl a && agentctl b", None),
        ("agentctl send a - <<'E'\nx\nE", None),
    ],
)
def test_only_what_no_shell_would_change_is_started_without_one(command: str, words: list[str] | None) -> None:
    assert plain_words(command) == words
