"""How each real CLI is made to run offline: the files in its HOME and the environment that point it to the stub model.

What stands in an environment here goes into the jcard's ``env``; the API key goes through the secret folder.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.harness.clis import PACKAGES, Package
from tests.harness.stub_dialects import Json


@dataclass(frozen=True, slots=True)
class Place:
    """Where one run lives."""

    home: Path
    workdir: Path
    url: str
    """Of the stub model."""
    key: str
    """The API key: in files only where the CLI asks a person to approve it."""


@dataclass(frozen=True, slots=True)
class RealCli(ABC):
    """One CLI and its recipe."""

    package: Package
    secret: str
    """Name of the environment variable that carries the API key."""
    unasked: tuple[str, ...]
    """Arguments with which it runs commands without asking or sandboxing."""
    model: str | None = None
    """For the jcard."""

    @property
    def harness(self) -> str:
        """The name of its harness."""
        return self.package.harness

    @abstractmethod
    def prepare(self, place: Place) -> Mapping[str, str]:
        """Write what the CLI reads from its HOME, and give the environment it needs."""

    def received(self, prompt: str) -> str:
        """Give the text that the model receives for a prompt in one-shot mode."""
        return prompt


class ClaudeCode(RealCli):
    """Without these files it asks about the theme, the folder, the key and running as root."""

    def prepare(self, place: Place) -> Mapping[str, str]:
        write_json(
            place.home / ".claude.json",
            {
                "hasCompletedOnboarding": True,
                "theme": "dark",
                "customApiKeyResponses": {"approved": [place.key[-20:]], "rejected": []},
                "projects": {str(place.workdir): {"hasTrustDialogAccepted": True}},
            },
        )
        write_json(place.home / ".claude" / "settings.json", {"skipDangerousModePermissionPrompt": True})
        return {
            "ANTHROPIC_BASE_URL": place.url,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_MAX_RETRIES": "0",
            "DISABLE_AUTOUPDATER": "1",
            "IS_SANDBOX": "1",
        }


CODEX_CONFIG = """
model = "stub-model"
model_provider = "stub"
check_for_update_on_startup = false
[model_providers.stub]
name = "stub"
base_url = {url}
env_key = "STUB_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
[analytics]
enabled = false
[projects.{workdir}]
trust_level = "trusted"
"""


class Codex(RealCli):
    """Its sandbox of commands fails where CODEX_HOME is below TMPDIR."""

    def prepare(self, place: Place) -> Mapping[str, str]:
        home = place.home / ".codex"
        home.mkdir()
        # A JSON string is a TOML string.
        values = {"url": json.dumps(f"{place.url}/v1"), "workdir": json.dumps(str(place.workdir))}
        (home / "config.toml").write_text(CODEX_CONFIG.format(**values))
        return {"CODEX_HOME": str(home)}


class OpenCode(RealCli):
    """Its provider for this dialect is bundled, so nothing is downloaded."""

    def prepare(self, place: Place) -> Mapping[str, str]:
        config: Json = {
            "autoupdate": False,
            "share": "disabled",
            "model": "stub/stub-model",
            "small_model": "stub/stub-model",
            "provider": {
                "stub": {
                    "npm": "@ai-sdk/openai-compatible",
                    "name": "Stub",
                    "options": {"baseURL": f"{place.url}/v1", "apiKey": f"{{env:{self.secret}}}"},
                    "models": {"stub-model": {"name": "Stub", "limit": {"context": 100_000, "output": 4096}}},
                }
            },
        }
        return {
            "OPENCODE_CONFIG_CONTENT": json.dumps(config),
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            # Plugins wait for a library that it installs: 70 s where no registry answers.
            "npm_config_registry": "http://127.0.0.1:9/",
            "npm_config_fetch_retries": "0",
        }

    def received(self, prompt: str) -> str:
        """``opencode run`` joins its arguments, quoting those with a space."""
        return '"' + prompt.replace('"', '\\"') + '"' if " " in prompt else prompt


class GeminiCli(RealCli):
    """Without a kind of authentication in its settings it exits with 41."""

    def prepare(self, place: Place) -> Mapping[str, str]:
        write_json(
            place.home / ".gemini" / "settings.json",
            {
                "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
                "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
                "privacy": {"usageStatisticsEnabled": False},
                "ide": {"enabled": False, "hasSeenNudge": True},
            },
        )
        return {
            "GOOGLE_GEMINI_BASE_URL": place.url,
            "GEMINI_CLI_NO_RELAUNCH": "true",
            "GEMINI_CLI_TRUST_WORKSPACE": "true",
        }


def write_json(path: Path, content: Json) -> None:
    """Write a settings file, with its folder."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


_PACKAGES = {package.harness: package for package in PACKAGES}

REAL_CLIS: tuple[RealCli, ...] = (
    ClaudeCode(_PACKAGES["claude-code"], "ANTHROPIC_API_KEY", ("--dangerously-skip-permissions",)),
    Codex(_PACKAGES["codex"], "STUB_KEY", ("--dangerously-bypass-approvals-and-sandbox",)),
    # Its default model asks another one first which to use.
    GeminiCli(_PACKAGES["gemini-cli"], "GEMINI_API_KEY", ("--approval-mode", "yolo"), model="gemini-2.5-pro"),
    OpenCode(_PACKAGES["opencode"], "STUB_KEY", ("--auto",)),
)
