"""Real shells, in a terminal, with Tab pressed."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.support import RUNNING, Client, MemorySource, TmuxServer
from tests.support.daemon import program
from tests.support.thorough import everyday
from tests.support.waiting import wait_for

SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
PROMPTS = {
    "bash": "bind 'set enable-bracketed-paste off'; PS1='ready> '",
    "zsh": "autoload -U compinit; compinit -D -u; zstyle ':completion:*' format ''; PS1='ready> '",
    "fish": "function fish_prompt; echo -n 'ready> '; end; function fish_greeting; end",
}


class Shell:
    """One interactive shell."""

    def __init__(self, tmux: TmuxServer) -> None:
        self._tmux = tmux

    def line(self) -> str:
        """What stands behind the last prompt."""
        lines = [line for line in self._tmux.screen("s").splitlines() if line.startswith("ready> ")]
        return lines[-1].removeprefix("ready> ").rstrip() if lines else ""

    def complete(self, typed: str, expected: str) -> None:
        """Type, press Tab, and wait for the completed line."""
        self._tmux("send-keys", "-t", "=s:", "-l", typed)
        wait_for(lambda: self.line() == typed.rstrip(), 20, what=f"{typed!r} is typed", explain=self.explain)
        self._tmux("send-keys", "-t", "=s:", "Tab")
        wait_for(lambda: self.line() == expected, 20, what=f"{typed!r} becomes {expected!r}", explain=self.explain)
        self._tmux("send-keys", "-t", "=s:", "C-u")
        wait_for(lambda: self.line() == "", 20, what="the line is empty", explain=self.explain)

    def explain(self) -> str:
        return self._tmux.screen("s")


@pytest.fixture(params=everyday(["bash"], SHELLS))
def shell(request: pytest.FixtureRequest, client: Client, operator_tmux: TmuxServer, source: MemorySource) -> Shell:
    name = str(request.param)
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    source.statuses = [replace(RUNNING, name=each) for each in ("Reviewer-0", "builder", "build-two")]
    script = client.folder / "script"
    script.write_text(client("completion", name).out)
    (client.folder / "notes.md").touch()
    settings = [f"{name}={value}" for name, value in client.environment.items() if name.startswith("AGENTD_")]
    path = f"PATH={Path(program('agentctl')).parent}:/usr/bin:/bin:{client.folder}"
    command = [
        "env",
        "-i",
        f"HOME={client.folder}",
        "TERM=tmux-256color",
        "LANG=C.UTF-8",
        path,
        *settings,
        *SHELLS[name],
    ]
    operator_tmux("new-session", "-d", "-s", "s", "-x", "200", "-y", "50", "-c", str(client.folder), *command)
    wait_for(lambda: operator_tmux.screen("s").strip(), 20, what="a prompt")
    for line in (PROMPTS[name], f"source {script}", "clear"):
        operator_tmux("send-keys", "-t", "=s:", "-l", line)
        operator_tmux("send-keys", "-t", "=s:", "Enter")
    wait_for(
        lambda: operator_tmux.screen("s").strip() == "ready>",
        20,
        what="ready",
        explain=lambda: operator_tmux.screen("s"),
    )
    return Shell(operator_tmux)


def test_commands_options_names_choices_and_files_are_completed(shell: Shell) -> None:
    shell.complete("agentctl validat", "agentctl validate")
    shell.complete("agentctl status --wat", "agentctl status --watch")
    shell.complete("agentctl attach Rev", "agentctl attach Reviewer-0")
    shell.complete("agentctl wait builder --for back", "agentctl wait builder --for backoff")
    shell.complete("agentctl --json attach builde", "agentctl --json attach builder")
    shell.complete("agentctl send builder --file no", "agentctl send builder --file notes.md")
    shell.complete("agentctl validate no", "agentctl validate notes.md")
    shell.complete("agentctl completion zs", "agentctl completion zsh")


def test_names_are_printed_one_a_line_and_nothing_without_a_daemon(client: Client) -> None:
    done = client("__names")
    assert (done.status, done.out, done.err) == (3, "", "")


def test_names_are_those_of_the_daemon(client: Client, source: MemorySource) -> None:
    source.statuses = [replace(RUNNING, name=each) for each in ("a", "b")]
    assert client("__names").out == client("__names", "--api-socket", client.api_socket).out == "a\nb\n"


@pytest.mark.thorough
def test_every_command_and_option_of_the_help_is_in_every_script(client: Client) -> None:
    scripts = {shell: client("completion", shell).out for shell in SHELLS}
    for command in re.findall(r"^    ([a-z]+) ", client("--help").out, re.MULTILINE):
        options = set(re.findall(r"--[a-z-]+", client(command, "--help").out.partition("examples:")[0]))
        for shell, script in scripts.items():
            assert re.search(rf"\b{command}\b", script), (shell, command)
            for option in options:
                spelling = option if shell != "fish" else f"-l {option[2:]}"
                assert spelling in script, (shell, command, option)
