from __future__ import annotations

import shutil

import pytest

from tests.docs.replay import PAGE, alike, newcomer, replayed


@pytest.mark.skipif(shutil.which("script") is None, reason="there is no script(1) to have a terminal from")
@pytest.mark.slow
def test_every_command_of_the_tutorial_prints_what_the_page_says() -> None:
    page = PAGE.read_text()
    with newcomer() as someone:
        assert alike(replayed(page, someone)) == alike(page)
        assert someone.daemon is not None
        someone.leave()
        assert someone.daemon.returncode == 0
