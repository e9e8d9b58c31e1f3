"""The harnesses that come with agentd.

Flags, stop keys and markers were tried with claude 2.1.197, codex 0.169.0, gemini 0.61.0 and opencode 1.18.33.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from agentd.harness import acp
from agentd.harness.acp import ACP
from agentd.harness.base import (
    NO_FACTS,
    CommandLineHarness,
    CredentialFile,
    Credentials,
    Forks,
    Harness,
    HarnessError,
    HarnessFacts,
    PromptForm,
    Request,
    StopKey,
    in_rounds,
    interrupts,
)
from agentd.harness.trust import FOLDER, FolderTrust, TrustFile
from agentd.text.prompt_variables import PLACEHOLDER

_AFTER_DASHES = ("--", "{prompt}")
_ESCAPE = (StopKey("Escape"),)

# Enter was tried behind every kind of end: after @word it completes the word instead in claude, codex and opencode
# (gemini puts the file in its place), after a backslash it breaks the line in claude and gemini. With a space between,
# all of them submit, and all but opencode remove the space. A / or # before the last word does not matter. After $word
# codex completes the name of a skill.
_MENTION = r"@\S*\Z"
_MENTION_OR_SKILL = r"[@$]\S*\Z"
_MENTION_OR_BACKSLASH = r"(?:@\S*|\\)\Z"

# How many C-c end a program that stays was tried with it idle, waiting for the model, running a tool, and with a
# half-typed line in its box: claude needs three while it waits for the model (the first brings the prompt back into the
# box, the second empties it), gemini three and opencode two with a half-typed line.

_CLAUDE_COMMANDS = frozenset(
    (
        *("agents", "auth", "auto-mode", "doctor", "gateway", "import-conversations", "install", "mcp", "plugin"),
        *("plugins", "project", "rc", "remote-control", "setup-token", "ultrareview", "update", "upgrade"),
    )
)
"""What `claude -- WORD` runs as a subcommand: those of its help, and hidden ones. `claude -p -- WORD` does not."""

_CLAUDE_ONESHOT = PromptForm(prompt=("-p", "{prompt}"), dashed=("-p", *_AFTER_DASHES))
CLAUDE_CODE = CommandLineHarness(
    binary="claude",
    auto=_CLAUDE_ONESHOT,
    oneshot=_CLAUDE_ONESHOT,
    interactive=PromptForm(
        prompt=("{prompt}",),
        dashed=_AFTER_DASHES,
        commands=_CLAUDE_COMMANDS,
        misread=((r"\s*(exit|quit|:q!?|:wq!?)\s*", "claude ends at that word"),),
        stop_keys=in_rounds(interrupts(3)),
    ),
    model_flag="--model",
    facts=HarnessFacts(
        # Its input box: "? for shortcuts" below it gives way to a status line. In a dialog the space is a plain one.
        ready_marker="\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT}\N{NO-BREAK SPACE}",
        # In its dialogs the cursor stands elsewhere: left of the choices.
        empty_box="\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT}[ \xa0]",
        unfinished=_MENTION_OR_BACKSLASH,
        interrupt_keys=_ESCAPE,
        # Source: code.claude.com/docs/en/authentication; on macOS a login is in the keychain instead of the file.
        credentials=Credentials(
            (
                *("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"),
                *("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX"),
            ),
            (CredentialFile(".credentials.json", ".claude", "CLAUDE_CONFIG_DIR"),),
        ),
        # A file with nothing but the entry is enough: it goes on to its onboarding, as without one.
        trust=FolderTrust(
            ("Is this a project you created or one you trust?",),
            TrustFile(
                ".claude.json", "", "CLAUDE_CONFIG_DIR", ("projects", FOLDER, "hasTrustDialogAccepted"), value=True
            ),
        ),
        # stream-json is refused without --verbose.
        machine_output=("--output-format", "stream-json", "--verbose"),
        resume=("--resume",),
        forks=Forks.ANYWHERE,
        read_only=("--permission-mode", "plan"),
    ),
)

# `opencode PROMPT` would take the prompt for a folder to open.
_OPENCODE_INTERACTIVE = PromptForm(
    prompt=("--prompt", "{prompt}"), dashed=("--prompt={prompt}",), stop_keys=in_rounds(interrupts(2))
)
OPENCODE = CommandLineHarness(
    binary="opencode",
    auto=_OPENCODE_INTERACTIVE,
    oneshot=PromptForm(before=("run",), prompt=("{prompt}",), dashed=_AFTER_DASHES),
    interactive=_OPENCODE_INTERACTIVE,
    model_flag="-m",
    facts=HarnessFacts(
        ready_marker="Ask anything",
        empty_box=r" *┃  ",
        unfinished=_MENTION,
        # The first one asks for the second.
        interrupt_keys=(StopKey("Escape"), StopKey("Escape", after=0.3)),
        # Source: opencode.ai/docs/providers; the variable is the provider's, these are the most common ones.
        credentials=Credentials(
            (
                *("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY"),
                *("GEMINI_API_KEY", "OPENCODE_API_KEY", "OPENCODE_CONFIG_CONTENT"),
            ),
            (CredentialFile("opencode/auth.json", ".local/share", "XDG_DATA_HOME"),),
        ),
        machine_output=("--format", "json"),
        resume=("--session",),
        forks=Forks.SAME_FOLDER,
        read_only=("--agent", "plan"),
    ),
)

# `gemini -- PROMPT` drops the prompt, so a leading dash needs the form with "=".
GEMINI_CLI = CommandLineHarness(
    binary="gemini",
    auto=PromptForm(
        prompt=("{prompt}",), dashed=("--prompt-interactive={prompt}",), stop_keys=in_rounds(interrupts(3))
    ),
    oneshot=PromptForm(prompt=("--prompt={prompt}",)),
    interactive=PromptForm(
        prompt=("-i", "{prompt}"), dashed=("--prompt-interactive={prompt}",), stop_keys=in_rounds(interrupts(3))
    ),
    model_flag="-m",
    facts=HarnessFacts(
        ready_marker="Type your message",
        # The second, where it does everything without asking (yolo).
        empty_box=" [>*] ",
        unfinished=_MENTION_OR_BACKSLASH,
        interrupt_keys=_ESCAPE,
        # Source: geminicli.com/docs/get-started/authentication.
        credentials=Credentials(
            ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_APPLICATION_CREDENTIALS"),
            (CredentialFile("oauth_creds.json", ".gemini"),),
        ),
        trust=FolderTrust(
            ("Do you trust the files in this folder?",),
            TrustFile("trustedFolders.json", ".gemini", None, (FOLDER,), "TRUST_FOLDER"),
        ),
        machine_output=("--output-format", "stream-json"),
        resume=("--resume",),
        read_only=("--approval-mode", "plan"),
        # Its terminal program tells an answer once it is whole, and takes answers to requests by keys.
        acp=("--acp",),
    ),
)

_CODEX_EXEC = PromptForm(
    before=("exec", "--skip-git-repo-check"),
    prompt=("{prompt}",),
    dashed=_AFTER_DASHES,
    misread=(("-", 'codex exec takes "-" for standard input'),),
)
CODEX = CommandLineHarness(
    binary="codex",
    auto=_CODEX_EXEC,
    oneshot=_CODEX_EXEC,
    interactive=PromptForm(
        # Without it the agent lives in a background daemon that outlasts the terminal.
        before=("--no-daemon",),
        prompt=("{prompt}",),
        dashed=_AFTER_DASHES,
        # It asks nobody before it does; one with a space in front of it is text.
        misread=(("!.*", 'codex has a shell run what begins with "!"'),),
        # While it works, C-c opens a dialog; Escape ends the work first.
        stop_keys=in_rounds((StopKey("Escape"), *interrupts(3)[1:])),
    ),
    model_flag="-m",
    facts=HarnessFacts(
        ready_marker="Ask Codex",
        empty_box="\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} ",
        unfinished=_MENTION_OR_SKILL,
        interrupt_keys=_ESCAPE,
        # Source: developers.openai.com/codex/auth.
        credentials=Credentials(
            ("CODEX_API_KEY", "OPENAI_API_KEY"), (CredentialFile("auth.json", ".codex", "CODEX_HOME"),)
        ),
        # Asked in git repositories alone; for a worktree it asks about, and keeps, the whole repository, which is not
        # ours to trust.
        trust=FolderTrust(("Trust this folder? Codex can read, edit, and run files here",)),
        machine_output=("--json",),
        resume=("resume",),
        forks=Forks.ANYWHERE,
        read_only=("-s", "read-only"),
    ),
)


@dataclass(frozen=True, slots=True)
class CustomHarness:
    """Any program: the jcard's ``command``, with the prompt in place of ``{prompt}`` or as the last argument."""

    binary: str = "agent"
    """Run where the jcard gives no ``command``."""
    facts: HarnessFacts = NO_FACTS
    takes_model: bool = False
    """There is no flag that every program has."""
    takes_command: bool = True

    def argv(self, request: Request) -> tuple[str, ...]:
        """Build ``COMMAND ARGS PROMPT``, or ``COMMAND ARGS`` where the command itself has a place for the prompt.

        Raises
        ------
        HarnessError
            If the request has a model.
        """
        if request.model is not None:
            raise HarnessError(
                f'custom has no flag for a model; remove model = "{request.model}" or put the flag into command'
            )
        command = request.command or (self.binary,)
        if any(PLACEHOLDER in part for part in command):
            return (*(part.replace(PLACEHOLDER, request.prompt) for part in command), *request.args)
        prompt = (request.prompt,) if request.prompt else ()
        return (*command, *request.args, *prompt)

    def stop_keys(self, request: Request) -> tuple[StopKey, ...]:  # noqa: ARG002 (the protocol's)
        """One C-c, whatever runs."""
        return interrupts(1)


CUSTOM = CustomHarness()

BUILT_IN: Mapping[str, Harness] = MappingProxyType(
    {
        "claude-code": CLAUDE_CODE,
        "opencode": OPENCODE,
        "gemini-cli": GEMINI_CLI,
        "codex": CODEX,
        acp.NAME: ACP,
        "custom": CUSTOM,
    }
)
"""By the name that a jcard gives as ``harness``."""
