"""What the pinned Codex says its app server's messages look like: a change of what we use is noticed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.harness.clis import PACKAGES

pytestmark = [pytest.mark.clis]

KNOWN = Path(__file__).with_name("codex_schema.json")
"""Of each message that is read or sent the SHA-256 of its schema, without what only people read.

When this fails with a new version, see in its schema whether `agentd.turns.codex` still understands it, then write the
file anew, as the failure says.
"""

CODEX = next(package for package in PACKAGES if package.harness == "codex")


def without_words(schema: object) -> object:
    if isinstance(schema, dict):
        return {name: without_words(value) for name, value in schema.items() if name not in ("description", "title")}
    return [without_words(each) for each in schema] if isinstance(schema, list) else schema


def test_the_messages_of_the_app_server_are_those_that_are_known(tmp_path: Path) -> None:
    if not CODEX.installed:
        pytest.skip("codex is not installed; run tests/harness/install-clis codex")
    subprocess.run(
        [CODEX.program, "app-server", "generate-json-schema", "--experimental", "--out", tmp_path],
        check=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CODEX_HOME": str(tmp_path)},
        timeout=60,
    )
    known = json.loads(KNOWN.read_text())
    found = {
        name: hashlib.sha256(
            json.dumps(without_words(json.loads((tmp_path / name).read_text())), sort_keys=True).encode()
        ).hexdigest()
        for name in known
        if (tmp_path / name).exists()
    }
    assert found == known, f"if it is understood still, write this into {KNOWN.name}:\n{json.dumps(found, indent=2)}"
