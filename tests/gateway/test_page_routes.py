"""What the page is made of, without a browser: its files, its policy, and who may see what."""

from __future__ import annotations

import hashlib

import pytest

from tests.gateway.stand_in import declare
from tests.support.gateway import Gateway

ALICE, ADMIN = "alices-token", "admins-token"


@pytest.fixture(autouse=True)
def _running(gateway: Gateway) -> None:
    declare(gateway)
    digest = hashlib.sha256(ALICE.encode()).hexdigest()
    table = f'[[gateway.tokens]]\nhash = "sha256:{digest}"\nuser = "alice"\nscopes = ["chat"]\n'
    gateway.daemon.write_jcard(f"{gateway.daemon.jcard.read_text()}\n{table}")
    gateway.daemon.start()
    gateway.start(env={"AGENTD_AUTH_TOKEN": ADMIN})


def test_its_files_have_a_policy_a_tag_and_nothing_beside_them(gateway: Gateway) -> None:
    page = gateway.request("GET", "/")
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    again = gateway.request("GET", "/static/main.js", headers={"If-None-Match": page.headers["etag"]})
    assert again.status == 200
    assert gateway.request("GET", "/static/main.js", headers={"If-None-Match": again.headers["etag"]}).status == 304
    for name in ("none.js", "..%2froutes.py", "%2e%2e/routes.py", "__init__.py"):
        assert gateway.request("GET", f"/static/{name}").status in (401, 404)


def test_a_user_sees_the_terminals_of_own_conversations_alone(gateway: Gateway) -> None:
    own = gateway.ask("POST", "/sessions", {"agent": "helper"}, token=ALICE)["session"]["id"]
    run = gateway.ask("POST", f"/sessions/{own}/messages", {"text": "seen by alice"}, token=ALICE)["run"]["id"]
    gateway.ask("GET", f"/runs/{run}/wait", token=ALICE)
    for what in ("screen", "log"):
        shown = gateway.request("GET", f"/page/sessions/{own}/{what}", token=ALICE)
        assert (shown.status, b"seen by alice" in shown.body) == (200, True)
        assert gateway.request("GET", f"/page/agents/helper/{what}", token=ALICE).status == 403
        assert gateway.request("GET", f"/page/agents/helper/{what}", token=ADMIN).status == 200
    main = gateway.ask("POST", "/sessions", {"agent": "helper", "main": True}, token=ALICE)["session"]["id"]
    assert gateway.request("GET", f"/page/sessions/{main}/screen", token=ALICE).status == 403
    (agent,) = gateway.ask("GET", "/page/agents", token=ALICE)["agents"]
    assert agent["name"] == "helper"
    assert "activity_text" not in agent
    assert "activity_text" in gateway.ask("GET", "/page/agents", token=ADMIN)["agents"][0]


def test_markdown_is_made_harmless(gateway: Gateway) -> None:
    texts = ["**b** <b>x</b>", "[x](javascript:alert(1))", "| a |\n|---|\n| 1 |", "~" * (300 << 10)]
    bold, link, table, long = gateway.ask("POST", "/page/markdown", {"texts": texts}, token=ALICE)["html"]
    assert bold == "<p><strong>b</strong> &lt;b&gt;x&lt;/b&gt;</p>\n"
    assert "<a" not in link
    assert "<table>" in table
    assert long.startswith("<pre>~~~")
    assert gateway.request("POST", "/page/markdown", {"texts": "x"}, token=ALICE).status == 422
