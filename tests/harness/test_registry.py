"""Third-party harnesses, found the way an installed package's are: by its dist-info folder on the import path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from agentd.harness.base import Harness
from agentd.harness.builtin import BUILT_IN
from agentd.harness.registry import load_harnesses

REPORT = """
import json
from agentd.harness.base import Request
from agentd.harness.registry import load_harnesses
from agentd.model.spec import Mode
registry = load_harnesses()
request = Request(prompt="do it", mode=Mode.ONESHOT)
acp = Request(prompt="do it", command=("agent",))
argv = {name: harness.argv(acp if name == "acp" else request) for name, harness in registry.harnesses.items()}
print(json.dumps({"argv": argv, "warnings": registry.warnings}))
"""

MODULE = """
    from agentd.harness.base import CommandLineHarness, PromptForm

    QWEN = CommandLineHarness(
        binary="qwen",
        oneshot=PromptForm(prompt=("--prompt={prompt}",)),
        interactive=PromptForm(prompt=("--prompt-interactive={prompt}",)),
        model_flag="-m",
    )

    def make():
        return QWEN

    class Aider:
        binary = "aider"
        takes_model = True
        takes_command = False
        facts = None

        def argv(self, request):
            return (self.binary, "--message", request.prompt)

        def stop_keys(self, request):
            return ()

    class Half:
        binary = "half"

    def fails():
        raise RuntimeError("no licence\\nfound")

    class Nameless(Aider):
        binary = ""

    NUMBER = 7
"""


@dataclass(frozen=True)
class Report:
    """What a fresh interpreter sees of the registry."""

    argv: Mapping[str, Sequence[str]]
    warnings: Sequence[str]


def install(folder: Path, name: str, module: str, entry_points: Mapping[str, str]) -> None:
    """Write the files that an installer would leave in site-packages."""
    (folder / f"{name}.py").write_text(dedent(module))
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{key} = {value}" for key, value in entry_points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[agentd.harnesses]", *lines, ""]))


def report(*folders: Path) -> Report:
    done = subprocess.run(
        [sys.executable, "-c", REPORT],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return Report(argv=found["argv"], warnings=found["warnings"])


def test_the_built_in_harnesses_are_there_without_a_warning() -> None:
    registry = load_harnesses()
    assert set(registry.harnesses) >= {"claude-code", "opencode", "gemini-cli", "codex", "acp", "custom"}
    assert registry.warnings == ()


@pytest.mark.parametrize("name", list(BUILT_IN))
def test_every_built_in_satisfies_the_protocol(name: str) -> None:
    assert isinstance(BUILT_IN[name], Harness)


def test_the_built_in_harnesses_need_no_package_metadata(tmp_path: Path) -> None:
    package = Path(__file__).parents[2] / "agentd"
    (tmp_path / "agentd").symlink_to(package)
    # -S leaves out site-packages, and with it every dist-info folder.
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{REPORT}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found["argv"]) == list(BUILT_IN)
    assert found["warnings"] == []


def test_an_installed_package_adds_a_harness_by_instance_function_or_class(tmp_path: Path) -> None:
    install(tmp_path, "acme", MODULE, {"qwen": "acme:QWEN", "made": "acme:make", "aider": "acme:Aider"})
    seen = report(tmp_path)
    assert seen.warnings == []
    assert seen.argv["qwen"] == ["qwen", "--prompt=do it"]
    assert seen.argv["made"] == ["qwen", "--prompt=do it"]
    assert seen.argv["aider"] == ["aider", "--message", "do it"]
    assert seen.argv["codex"][0] == "codex"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        pytest.param("acme_missing:QWEN", "ModuleNotFoundError", id="module that is not there"),
        pytest.param("acme:MISSING", "AttributeError", id="name that is not there"),
        pytest.param("acme:fails", "RuntimeError: no licence found", id="function that raises"),
        pytest.param(
            "acme:Half", "found Half without takes_model, takes_command, facts, argv, stop_keys", id="half a class"
        ),
        pytest.param("acme:NUMBER", "found int without binary, takes_model", id="number"),
        pytest.param("acme:Nameless", "expected binary to be the name of a program, found ''", id="no binary"),
    ],
)
def test_a_broken_harness_is_a_warning_and_leaves_the_others_alone(tmp_path: Path, target: str, reason: str) -> None:
    install(tmp_path, "acme", MODULE, {"broken": target, "qwen": "acme:QWEN"})
    seen = report(tmp_path)
    assert "broken" not in seen.argv
    assert set(seen.argv) >= {*BUILT_IN, "qwen"}
    (warning,) = seen.warnings
    assert warning.startswith(f'harness "broken" ({target}, of acme) cannot be used: ')
    assert reason in warning
    assert "\n" not in warning


def test_a_third_party_cannot_replace_a_built_in_harness(tmp_path: Path) -> None:
    install(tmp_path, "acme", MODULE, {"codex": "acme:QWEN"})
    seen = report(tmp_path)
    assert seen.argv["codex"][0] == "codex"
    (warning,) = seen.warnings
    assert 'harness "codex" (acme:QWEN, of acme) is ignored: the name belongs to agentd' in warning


def test_of_two_packages_with_one_name_the_first_by_name_wins_and_the_other_is_a_warning(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for folder, package in ((first, "zeta"), (second, "acme")):
        folder.mkdir()
        install(folder, package, MODULE, {"qwen": f"{package}:QWEN"})
    seen = report(first, second)
    assert seen.argv["qwen"] == ["qwen", "--prompt=do it"]
    (warning,) = seen.warnings
    assert 'harness "qwen" (zeta:QWEN, of zeta) is ignored: the name belongs to acme' in warning
