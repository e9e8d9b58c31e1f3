"""Notifications of a running agentd: [[notify]]."""

from __future__ import annotations

import json

from tests.daemon.support import declare, running, start, stay
from tests.notify.web import hooks
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.support.waiting import wait_for


def rules(text: str, *agents: dict[str, object]) -> str:
    return f"{jcard(*agents)}\n{text}"


def test_a_failure_is_posted_signed_and_a_command_is_run(daemon: Daemon) -> None:
    told = daemon.folder / "told"
    with hooks() as web:
        daemon.write_secret("HOOK_KEY", "t0p-secret")
        command = json.dumps(["sh", "-c", f'printf %s "$1" >{told}.new && mv {told}.new {told}', "sh", "{text}"])
        daemon.write_jcard(
            rules(
                f'[[notify]]\non = ["failed"]\nurl = "{web.url}"\nsecret = "HOOK_KEY"\n'
                f'[[notify]]\non = ["failed"]\nagents = ["b*"]\ncommand = {command}\n',
                stay("breaks", command=["sh", "-c", "exit 7"], secrets=[]),
                stay("works", command=["true"], secrets=[]),
            )
        )
        daemon.start()
        daemon.wait_state("breaks", "failed")
        wait_for(lambda: web.posts, what="it was posted")
        assert [json.loads(post.body)["text"] for post in web.posts] == ["breaks: failed: exit status 7"]
        assert web.posts[0].headers["webhook-signature"].startswith("v1,")
        wait_for(told.exists, what="the command ran")
        assert told.read_text() == "breaks: failed: exit status 7"
    assert "t0p-secret" not in daemon.log_text()


def test_a_rule_that_is_added_counts_at_once_and_one_that_is_wrong_keeps_the_last(daemon: Daemon) -> None:
    start(daemon, stay("a"))
    running(daemon, "a")
    with hooks() as web:
        daemon.write_jcard(rules(f'[[notify]]\non = ["declared"]\nurl = "{web.url}"\n', stay("a"), stay("b")))
        wait_for(lambda: web.posts, what="it was posted")
        daemon.write_jcard(rules('[[notify]]\non = ["declared"]\n', stay("a"), stay("b"), stay("c")))
        daemon.wait_for(lambda: not daemon.health()["config"]["valid"])
        assert "expected command or url" in str(daemon.health()["config"]["error"])
        assert "c" not in daemon.agents()


def test_nobody_who_listens_holds_up_the_end(daemon: Daemon) -> None:
    hangs = json.dumps(["sleep", "600"])
    daemon.write_jcard(rules(f'[[notify]]\non = ["started", "stopped"]\ncommand = {hangs}\n', stay("a")))
    daemon.start()
    running(daemon, "a")
    assert daemon.stop() == 0
    assert daemon.left_behind() == []


def test_a_secret_to_sign_with_that_is_not_there_is_a_warning(daemon: Daemon) -> None:
    declare(daemon, stay("a"))
    daemon.write_jcard(rules('[[notify]]\non = ["failed"]\nurl = "http://127.0.0.1:9/"\nsecret = "NO"\n', stay("a")))
    daemon.start()
    daemon.wait_for(lambda: "[[notify]] signs with it" in str(daemon.health()["config"]["warnings"]))
