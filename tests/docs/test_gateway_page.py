"""What docs/how-to/gateway.md shows is taken as it is shown: its requests, its tables, its commands."""

from __future__ import annotations

import json
import re
import shlex
from urllib.parse import parse_qsl, urlsplit

import pytest

from agentd.gateway.command_line import build_parser
from agentd.gateway.http.body import validated
from agentd.gateway.http.route import Route
from agentd.gateway.interface import AT_THE_ROOT, TWICE
from agentd.harness.registry import load_harnesses
from agentd.jcard.load import load_jcard
from agentd.settings.context import load_context
from tests.docs.newcomer import ROOT

pytestmark = pytest.mark.gateway

PAGE = (ROOT / "docs/how-to/gateway.md").read_text()
COMMANDS = [
    line for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) for line in block.splitlines()
]
REQUESTS = [line for line in COMMANDS if line.startswith("curl ")]
TABLES = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def route_of(method: str, path: str) -> Route:
    for route in (*TWICE, *AT_THE_ROOT):
        pattern = re.sub(r"\{\w+\}", "[^/]+", route.path)
        if route.method == method and re.fullmatch(pattern, path):
            return route
    raise AssertionError(f"there is no {method} {path}")


@pytest.mark.parametrize("request_line", REQUESTS)
def test_a_request_of_the_page_is_one_of_the_interface(request_line: str) -> None:
    words = shlex.split(request_line)
    url = urlsplit(next(word for word in words if word.startswith("http://127.0.0.1:8765/")))
    body = words[words.index("--json") + 1] if "--json" in words else None
    route = route_of("GET" if body is None else "POST", url.path)
    if body is not None:
        assert route.takes is not None
        validated(route.takes, json.loads(body))
    if url.query:
        assert route.query is not None
        validated(route.query, dict(parse_qsl(url.query)))


@pytest.mark.parametrize("table", TABLES)
def test_a_table_of_the_page_has_no_errors(table: str) -> None:
    config = ROOT / "jcard.toml"
    context = load_context(config, "ada", ROOT, load_harnesses().harnesses, ROOT)
    loaded = load_jcard(table.encode(), str(config), context)
    assert not loaded.errors
    assert loaded.gateway is not None


def test_the_commands_of_the_page_are_understood() -> None:
    own = [shlex.split(line) for line in COMMANDS if line.split()[:1] == ["agentd-gateway"]]
    assert own
    for command in own:
        build_parser().parse_args(command[1:])
    rest = {line for line in COMMANDS if line} - set(REQUESTS) - {shlex.join(words) for words in own}
    # The one needs a package index, the other a systemd: tests/packaging and tests/systemd.
    assert rest == {"pip install 'agentd[gateway]'", "agentctl service install --gateway"}


def test_the_page_names_routes_that_there_are() -> None:
    for method, path in re.findall(r"`(GET|POST|DELETE) (/[a-zA-Z/]+)`", PAGE):
        route_of(method, re.sub(r"\bID\b", "x", path))
