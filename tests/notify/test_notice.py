"""What is told of an event, by which rules, and how often."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest

from agentd.model.events import Event, EventKind
from agentd.model.notification import NoticeFormat, NotifyRule
from agentd.notify.notice import Notice, applies, occasion, signature
from agentd.notify.rate import WINDOW, Rate, admit

FAILED = Event(EventKind.FAILED, "Reviewer-0", "exit status 3", {"state": "failed", "was": "running"})
STOPPED = Event(EventKind.DAEMON_STOPPED, None, None, {"pid": 7})


@pytest.mark.parametrize(
    ("on", "agents", "event", "told"),
    [
        ({"failed"}, None, FAILED, True),
        ({"exited"}, None, FAILED, False),
        ({"failed"}, ("reviewer-0",), FAILED, True),
        ({"failed"}, ("REVIEW*",), FAILED, True),
        ({"failed"}, ("writer", "r?viewer-[0-9]"), FAILED, True),
        ({"failed"}, ("reviewer",), FAILED, False),
        ({"daemon_stopped"}, None, STOPPED, True),
        ({"daemon_stopped"}, ("*",), STOPPED, False),
    ],
)
def test_a_rule_tells_of_its_occasions_and_agents(
    on: set[str], agents: tuple[str, ...] | None, event: Event, told: bool
) -> None:
    assert applies(NotifyRule(frozenset(on), agents, ("true",)), event) is told


def test_the_sentence_is_one_line_without_control_characters() -> None:
    said = Event(EventKind.FAILED, "a", "no\n\x1b[31m\u202ered " + "x" * 1000)
    text = Notice("msg_1", said, 0.0, "h", left_out=3).text
    assert text.startswith("a: failed: no \\x1b[31m\\u202ered xxx")
    assert text.endswith("… (3 notices before it were left out)")
    assert len(text) < 600


def test_the_body_is_the_whole_notice_or_its_sentence() -> None:
    notice = Notice("msg_1", FAILED, 1.0, "h")
    text = "Reviewer-0: failed: exit status 3"
    assert json.loads(notice.body(NoticeFormat.JSON)[0]) == {
        "id": "msg_1",
        "type": "failed",
        "timestamp": "1970-01-01T00:00:01Z",
        "host": "h",
        "agent": "Reviewer-0",
        "occasion": "failed",
        "text": text,
        "reason": "exit status 3",
        "data": {"state": "failed", "was": "running"},
        "left_out": 0,
    }
    assert json.loads(notice.body(NoticeFormat.SLACK)[0]) == {"text": text}
    assert notice.body(NoticeFormat.TEXT) == (text.encode(), "text/plain; charset=utf-8")
    assert occasion(FAILED) == "failed"


def test_the_signature_is_that_of_standard_webhooks() -> None:
    # The example of the specification, standard-webhooks.md: "Symmetric signatures".
    secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
    body = b'{"event_type":"ping","data":{"success":true}}'
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330." + body, hashlib.sha256).digest()
    assert (
        signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == "v1," + base64.b64encode(digest).decode()
    )
    plain = hmac.new(b"tell nobody", b"m.5.x", hashlib.sha256).digest()
    assert signature("tell nobody", "m", 5, b"x") == "v1," + base64.b64encode(plain).decode()
    with pytest.raises(ValueError, match=r"[Pp]adding|base64"):
        signature("whsec_x", "m", 5, b"x")


def test_what_is_too_many_is_counted_and_said_with_the_next() -> None:
    rate, told = Rate(), []
    for second in range(5):
        rate, left_out = admit(rate, 3, float(second))
        told.append(left_out)
    assert told == [0, 0, 0, None, None]
    rate, left_out = admit(rate, 3, WINDOW + 0.5)
    assert left_out == 2
    assert admit(rate, 3, WINDOW + 1.5)[1] == 0
