"""The page, in a real Chromium: what it shows, what its buttons do, and what agents' output cannot do to it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from unicodedata import category

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Route, expect, sync_playwright

from agentd.text.terminal import harmless
from tests.docs.newcomer import ROOT
from tests.gateway.stand_in import declare
from tests.support import talking_claude
from tests.support.gateway import Gateway
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

OFFLINE = "ERR_INTERNET_DISCONNECTED"
"""What Chromium says of requests while the test has it offline."""

DESKTOP, PHONE, SMALL = (1100, 700), (390, 800), (320, 560)
PICTURES = ROOT / "docs"
"""Of the documentation; written where WRITE_PICTURES is set."""

expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        # As root Chromium has no sandbox of its own; it sees nothing but the page of the test.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def gateway(gateway: Gateway) -> Gateway:
    declare(gateway, {"name": "watcher", "command": ["sleep", "1000"]})
    gateway.daemon.start()
    gateway.start()
    return gateway


@pytest.fixture
def page(browser: Browser, gateway: Gateway) -> Iterator[Page]:
    """The page with the agent ``helper`` chosen; what goes wrong in it fails the test."""
    wrong: list[str] = []
    page = browser.new_page(viewport={"width": DESKTOP[0], "height": DESKTOP[1]})
    page.on("pageerror", lambda error: wrong.append(str(error)))

    def took(said: ConsoleMessage) -> None:
        if said.type == "error" and OFFLINE not in said.text:
            wrong.append(said.text)

    page.on("console", took)
    page.on("request", lambda request: wrong.append(request.url) if not request.url.startswith(gateway.url) else None)
    page.goto(gateway.url + "/")
    page.get_by_role("button", name="helper").click()
    yield page
    page.close()
    assert not wrong


def say(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_label("Message", exact=True).press("Enter")


def answers(page: Page) -> Locator:
    """The agent's messages that are whole."""
    return page.locator(".said.assistant .rendered")


def picture(page: Page, name: str, folder: Path) -> None:
    """Take a picture of the page, and keep it in the documentation where that is asked for."""
    kept = PICTURES if "WRITE_PICTURES" in os.environ else folder
    page.screenshot(path=kept / name, animations="disabled")
    assert (kept / name).stat().st_size > 10_000


def test_a_conversation_with_a_tool_and_a_permission(page: Page, tmp_path: Path) -> None:
    say(page, "Which files are *here*? `ls` will do. USE-TOOL")
    expect(answers(page)).to_have_text("You said: Which files are here? ls will do. USE-TOOL")
    expect(answers(page).locator("em")).to_have_text("here")
    tool = page.locator("details.tool")
    expect(tool).to_have_attribute("data-state", "done")
    expect(tool.locator("pre")).to_be_hidden()
    tool.locator("summary").click()
    expect(tool.locator("pre")).to_have_text("ls")
    say(page, "And now ASK-PERMISSION first")
    allow = page.get_by_role("button", name="Allow", exact=True)
    expect(allow).to_be_visible()
    expect(page.locator("#activity")).to_have_text("custom, waits for you")
    expect(page.get_by_role("button", name="helper")).to_contain_text("a conversation waits for you")
    picture(page, "chat-desktop.png", tmp_path)
    for width, height in (SMALL, PHONE, DESKTOP):
        # With Interrupt beside Send.
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    allow.click()
    expect(answers(page).nth(1)).to_have_text("You said: And now ASK-PERMISSION first (allowed)")
    expect(page.locator(".request")).to_contain_text("→ allow")
    # History over reloads, and on a phone.
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    page.reload()
    expect(answers(page)).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    picture(page, "chat-phone.png", tmp_path)
    page.get_by_label("Back to the agents").click()
    expect(page.get_by_role("button", name="helper")).to_be_visible()
    expect(page.get_by_label("Message", exact=True)).to_be_hidden()


def test_a_tool_that_has_to_be_confirmed(page: Page, gateway: Gateway) -> None:
    talking_claude.install(gateway.daemon.bin)
    tool = {"name": "delete", "seek_confirm": True, "time_to_confirm": 300_000}
    config = {"mcp": {"servers": {"toy": {"command": "toy", "tool_calls": [tool]}}}}
    gateway.ask("POST", "/agents", {"username": "bob", "name": "helper", "json_config": config})
    page.get_by_role("button", name="bob--helper").click()
    page.get_by_role("list", name="Conversations").get_by_role("button").click()
    say(page, 'tool mcp__toy__delete {"path": "/x"}')
    card = page.locator(".request")
    # Asked once, though the run waits for a permission, too.
    confirm = page.get_by_role("button", name="Confirm")
    expect(confirm).to_be_visible()
    expect(card).to_have_count(1)
    expect(card).to_contain_text("May the agent use delete of toy?")
    expect(card).to_contain_text('{"path":"/x"}')
    confirm.click()
    expect(card).to_contain_text("→ confirmed")
    expect(answers(page)).to_have_text("mcp__toy__delete ran")
    # Another way was the first.
    say(page, "tool mcp__toy__delete")
    expect(page.get_by_role("button", name="Reject")).to_be_visible()
    (asked,) = gateway.ask("GET", "/agents/helper/confirmations")["confirmations"]
    gateway.ask("POST", f"/agents/helper/confirmations/{asked['request_id']}", {"confirmed": False})
    expect(card.nth(1)).to_contain_text("→ rejected")
    expect(answers(page).nth(1)).to_have_text("mcp__toy__delete was refused")
    page.reload()
    expect(answers(page)).to_have_count(2)
    expect(card).to_have_count(2)
    expect(page.get_by_role("button", name="Confirm")).to_have_count(0)


def test_an_interrupt_a_question_and_several_conversations(page: Page) -> None:
    say(page, "first STUB-SLEEP:60")
    interrupt = page.get_by_role("button", name="Interrupt")
    expect(page.locator("#activity")).to_have_text("custom, working")
    interrupt.click()
    expect(page.locator(".note.bad")).to_have_text("The turn was interrupted.")
    expect(interrupt).to_be_hidden()
    say(page, "ASK-QUESTION please")
    page.get_by_role("button", name="Blue").click()
    expect(answers(page)).to_have_text("You said: ASK-QUESTION please (Blue)")
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".said")).to_have_count(0)
    say(page, "second")
    expect(answers(page)).to_have_text("You said: second")
    conversations = page.get_by_role("list", name="Conversations").get_by_role("button")
    expect(conversations).to_have_count(2)
    conversations.filter(has_text="first").click()
    expect(answers(page)).to_have_text("You said: ASK-QUESTION please (Blue)")


def test_a_conversation_that_waits_is_seen_from_another(page: Page) -> None:
    say(page, "the first one ASK-PERMISSION")
    expect(page.get_by_role("button", name="Allow", exact=True)).to_be_visible()
    page.get_by_role("button", name="New conversation").click()
    conversation = page.get_by_role("list", name="Conversations").get_by_role("button", name="the first one")
    helper = page.get_by_role("button", name="helper")
    expect(conversation).to_contain_text("waits for you")
    expect(helper).to_contain_text("a conversation waits for you")
    expect(page).to_have_title("(1) agentd")
    conversation.click()
    page.get_by_role("button", name="Deny").click()
    expect(helper).not_to_contain_text("waits for you")
    expect(conversation).not_to_contain_text("waits for you")
    expect(page).to_have_title("agentd")


def test_its_screen_its_log_and_the_keyboard(page: Page) -> None:
    say(page, "shown on the screen")
    expect(answers(page)).to_have_count(1)
    page.get_by_role("tab", name="Chat").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tabpanel", name="Screen")).to_contain_text("You said: shown on the screen")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tabpanel", name="Log")).to_contain_text("You said: shown on the screen")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("log", name="Conversation")).to_be_visible()


HOSTILE = (
    '<img src=x onerror="document.title=1"><script>document.title=2</script> '
    "[click](javascript:document.title=3) ![picture](http://203.0.113.9/x.png) [good](https://example.org) "
    "\\x1b]0;title\\x07 &lt;b&gt;"
)


def test_what_an_agent_says_does_nothing(page: Page) -> None:
    say(page, HOSTILE)
    expect(answers(page)).to_have_count(1)
    said = answers(page)
    expect(said).to_contain_text("<script>document.title=2</script>")
    expect(said.locator("img, script, iframe, [onerror]")).to_have_count(0)
    links = said.locator("a")
    # A picture becomes a link: nothing is fetched from elsewhere.
    assert [link.get_attribute("href") for link in links.all()] == ["http://203.0.113.9/x.png", "https://example.org"]
    assert {link.get_attribute("rel") for link in links.all()} == {"noopener noreferrer nofollow"}
    assert page.title() == "agentd"


MADE_VISIBLE = """async (texts) => {
  const { visible } = await import("/static/visible.js");
  return texts.split("\\n").map((each) => visible(each)).join("\\n");
}"""

FILLERS = "\u115f\u1160\u3164\uffa0"
"""Letters that are not seen."""

ASKED = """async (text) => {
  const { Conversation } = await import("/static/conversation.js");
  const place = document.createElement("div");
  const asked = { request_id: "1", kind: "permission", name: "Bash", text };
  new Conversation("none", place, { changed: () => {} }).ask("none", asked);
  return place.textContent;
}"""


def test_what_hides_or_reorders_text_is_shown_as_its_number(page: Page) -> None:
    say(page, "rm \u202egpj.exe\u202c and \u200b, but \U0001f469\u200d\U0001f4bb")
    expect(answers(page)).to_have_text("You said: rm \\u202egpj.exe\\u202c and \\u200b, but \U0001f469\u200d\U0001f4bb")
    assert "rm -r build\\u2066 #" in page.evaluate(ASKED, "rm -r build\u2066 #")
    # As in a terminal, whatever the character, alone and behind others.
    odd = [chr(n) for n in range(0x20, 0x110000) if category(chr(n)) in ("Cc", "Cf", "Zl", "Zp", "Mn")]
    texts = [before + each for each in [*odd, *FILLERS] for before in ("", "a", "\u0628", "\ufe0f")]
    # As one text: Playwright hands thousands over slowly.
    seen = page.evaluate(MADE_VISIBLE, "\n".join(texts)).split("\n")
    differ = [(text, shown) for text, shown in zip(texts, seen, strict=True) if shown != harmless(text)]
    assert not differ


def test_a_token_is_asked_for_and_kept_in_the_tab(browser: Browser, gateway: Gateway) -> None:
    gateway.stop()
    gateway.start(env={"AGENTD_AUTH_TOKEN": "an-example-token"})
    page = browser.new_page()
    page.goto(gateway.url + "/")
    refused = page.get_by_role("alert").filter(has_text="That token was refused")
    for token in ("wrong", "an-example-token"):
        expect(page.get_by_role("dialog", name="Token")).to_be_visible()
        expect(refused).to_have_count(int(token != "wrong"))
        page.get_by_role("dialog").get_by_label("Token").fill(token)
        page.keyboard.press("Enter")
    page.get_by_role("button", name="helper").click()
    say(page, "with a token")
    expect(answers(page)).to_have_text("You said: with a token")
    assert "an-example-token" not in page.url
    assert page.evaluate("localStorage.length") == 0
    assert "an-example-token" not in gateway.log_text()
    page.close()


def test_it_goes_on_when_the_gateway_was_away(page: Page, gateway: Gateway) -> None:
    say(page, "before")
    expect(answers(page)).to_have_text("You said: before")
    page.context.set_offline(offline=True)
    expect(page.locator("#connection")).to_have_text("not connected")
    say(page, "after")
    expect(page.get_by_role("alert")).to_be_visible()
    page.context.set_offline(offline=False)
    page.get_by_role("button", name="Send").click()
    expect(answers(page)).to_have_count(2)
    assert gateway.running


def test_a_phone_shows_the_conversations_of_the_agent(page: Page) -> None:
    say(page, "first of all")
    expect(answers(page)).to_have_text("You said: first of all")
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    conversations = page.get_by_role("list", name="Conversations").get_by_role("button")
    back = page.get_by_label("Back to the agents")
    back.click()
    page.get_by_role("button", name="New conversation").click()
    say(page, "second of all")
    expect(answers(page)).to_have_text("You said: second of all")
    back.click()
    expect(page.get_by_role("button", name="helper")).to_be_focused()
    expect(conversations).to_have_count(2)
    conversations.filter(has_text="first of all").click()
    expect(answers(page)).to_have_text("You said: first of all")
    # The one that is shown anyway, too.
    back.click()
    conversations.filter(has_text="first of all").click()
    expect(answers(page)).to_be_visible()


def test_the_message_box_is_reached_past_the_lists(page: Page) -> None:
    page.get_by_role("tab", name="Log").click()
    skip = page.get_by_role("button", name="Skip to the message box")
    skip.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Message", exact=True)).to_be_focused()
    expect(page.locator("#name")).to_have_text("helper")


def test_a_conversation_is_closed(page: Page) -> None:
    say(page, "to be closed")
    expect(answers(page)).to_have_text("You said: to be closed")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Close", exact=True).click()
    expect(page.locator(".said")).to_have_count(0)
    expect(page.get_by_role("list", name="Conversations").get_by_role("button")).to_have_count(0)
    expect(page.get_by_role("button", name="Close", exact=True)).to_be_hidden()


def test_what_is_written_while_a_message_is_on_its_way_stays(page: Page, gateway: Gateway) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/messages", hold)
    say(page, "first")
    while not held:
        page.wait_for_timeout(10)
    box = page.get_by_label("Message", exact=True)
    box.fill("second")
    box.press("Enter")
    held[0].continue_()
    page.unroute("**/messages")
    expect(answers(page)).to_have_text("You said: first")
    expect(box).to_have_value("second")
    box.press("Enter")
    expect(answers(page)).to_have_text(["You said: first", "You said: second"])
    assert len(held) == 1
    assert len(gateway.ask("GET", "/sessions")["sessions"]) == 1


def test_it_stays_at_the_end_of_the_conversation(page: Page) -> None:
    say(page, "\n\n".join(f"- line {number} {'one-word-' * 20}" for number in range(40)))
    expect(answers(page)).to_have_count(1)
    messages = page.locator("#messages")

    def is_at_end() -> bool:
        return bool(messages.evaluate("(place) => place.scrollHeight - place.scrollTop - place.clientHeight < 2"))

    wait_for(is_at_end, what="it is at the end")
    # What is seen gets longer as the page gets smaller.
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    wait_for(is_at_end, what="it is at the end on a phone")
    # But whoever has scrolled up is left alone.
    up = messages.evaluate(
        "(place) => new Promise((there) => {"
        "place.addEventListener('scroll', () => there(place.scrollTop), { once: true }); place.scrollTop = 100; })"
    )
    say(page, "more")
    expect(answers(page)).to_have_count(2)
    assert messages.evaluate("(place) => place.scrollTop") == up


def test_a_screen_that_could_not_be_seen_is_shown_again(page: Page) -> None:
    say(page, "still there")
    expect(answers(page)).to_have_count(1)
    page.get_by_role("tab", name="Screen").click()
    screen = page.get_by_role("tabpanel", name="Screen")
    expect(screen).to_contain_text("You said: still there")
    page.context.set_offline(offline=True)
    expect(screen).to_contain_text("Failed to fetch")
    page.context.set_offline(offline=False)
    expect(screen).to_contain_text("You said: still there")


def test_more_messages_than_one_request_takes_become_markdown(page: Page) -> None:
    page.evaluate(
        """async () => {
            const { rendered } = await import("/static/markdown.js");
            for (let at = 0; at < 1200; at += 1) {
              const text = Object.assign(document.createElement("p"), { className: "many", textContent: `*${at}*` });
              document.body.append(text);
              rendered(text);
            }
        }"""
    )
    expect(page.locator(".many em")).to_have_count(1200)


def test_messages_that_nobody_was_asked_for_are_shown_beside_each_other(page: Page, gateway: Gateway) -> None:
    say(page, "hello")
    expect(answers(page)).to_have_count(1)
    (session,) = gateway.ask("GET", "/sessions")["sessions"]
    for text in ("**one**", "two"):
        gateway.ask("POST", f"/sessions/{session['id']}/messages", {"role": "assistant", "text": text})
    expect(answers(page)).to_have_text(["You said: hello", "one", "two"])
