"""What is not seen is shown escaped; what people write stays as it is."""

from __future__ import annotations

import unicodedata

import pytest

from agentd.text.quoting import printable, visible
from agentd.text.terminal import harmless
from tests.daemon.support import failure, script, start
from tests.security.test_terminal_escapes import agentctl, wait_for_log
from tests.support.daemon import Daemon

SEEN_FORMATS = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
"""Signs that enclose or precede numbers."""


@pytest.mark.parametrize(
    "text",
    [
        "rm \u202egnp.exe", "a\u2066b\u2069", "pass\u200bword", "pass\u200cword", "a\u200db", "\u200d", "\u2028",
        "\ufeffx", "soft\u00adhyphen", "\u3164", "\u115f", "tag\U000e0041", "\u180e", "a\ufe0f\ufe0f", "\u061c",
        "word\u2060joiner",
    ],
)  # fmt: skip
def test_what_reorders_or_hides_is_escaped(text: str) -> None:
    for shown in (harmless(text), printable(text)):
        assert "\\" in shown
        assert not any(unicodedata.category(c) in ("Cf", "Zl", "Zp") for c in shown)


@pytest.mark.parametrize(
    "text",
    [
        "naïve é e\u0301", "שלום עולם", "مرحبا", "می\u200cخوا", "क्\u200dष", "👩\u200d💻",  # noqa: RUF001
        "❤\ufe0f\u200d🔥", "🏳\ufe0f\u200d🌈", "日本語", "┌─┐ ✓ …", "葛\U000e0100", "١٢٣ \u0600",
    ],
)  # fmt: skip
def test_what_people_write_stays(text: str) -> None:
    assert visible(text) == text
    assert harmless(text) == text


def test_of_all_format_characters_only_those_stay_that_are_seen() -> None:
    formats = (chr(code) for code in range(0x30000) if unicodedata.category(chr(code)) == "Cf")
    staying = {char for char in formats if visible(f"a{char}b") == f"a{char}b"}
    assert staying - SEEN_FORMATS <= set(map(chr, range(0x13430, 0x13440)))


HIDDEN = "a\u202eb\u2066c\u200bd"


def test_what_agents_print_and_are_named_after_is_escaped_wherever_it_is_shown(daemon: Daemon) -> None:
    said = daemon.folder / "said"
    said.write_text(f"{HIDDEN}\nlast\n", encoding="utf-8")
    says = script("says", f"cat {said}; sleep 600")
    start(daemon, says, script("lost", "true", workdir=f"missing/{HIDDEN}", restart="no"))
    failure(daemon, "lost")
    wait_for_log(daemon, "says", "last")
    daemon.wait_for(lambda: "last" in daemon.screen("says"))
    for arguments in (["screen", "says"], ["logs", "says"], ["events"], ["status"], ["status", "lost"]):
        done = agentctl(daemon, *arguments)
        assert done.returncode == 0, done.stderr
        assert not set("\u202e\u2066\u200b") & set(done.stdout + done.stderr), arguments
        assert "a\\u202eb\\u2066c\\u200bd" in done.stdout, arguments
