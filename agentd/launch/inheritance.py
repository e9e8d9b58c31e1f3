"""What of the environment that agentd was started in is not for agents.

Settings of a user stay. What goes describes the place that agentd was started from, where no agent is: its service
manager, terminal, multiplexer, editor, login, shell, git hook, or the coding agent that started it. Most of these names
are found only in the programs that set them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from agentd.model.spec import ENVIRONMENT_NAME

_STATE = {
    "agentd itself": ("AGENTD_.*",),
    "a service manager, of a service": (
        *("NOTIFY_SOCKET", "LISTEN_.*", "INVOCATION_ID", "JOURNAL_STREAM", "WATCHDOG_.*", "SYSTEMD_EXEC_PID"),
        *("MANAGERPID", "MEMORY_PRESSURE_.*", "(RUNTIME|STATE|CACHE|LOGS|CONFIGURATION|CREDENTIALS)_DIRECTORY"),
    ),
    "a shell": (
        *("_", "PWD", "OLDPWD", "SHLVL", "PPID", "UID", "EUID", "SHELLOPTS", "BASHOPTS", "BASH_ENV", "ENV"),
        "DIRENV_(DIR|FILE|DIFF|WATCHES|LAYOUT|IN_ENVRC)",
    ),
    "make, with numbers of descriptors that are not open": ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKE_TERM(OUT|ERR)"),
    "a terminal: agents have one of their own": (
        *("TERM", "COLORTERM", "COLUMNS", "LINES", "TERM_(PROGRAM|PROGRAM_VERSION|SESSION_ID|FEATURES)"),
        *("TERMINAL_EMULATOR", "LC_TERMINAL(_VERSION)?", "VTE_VERSION", "WINDOWID", "WT_(SESSION|PROFILE_ID)"),
        *("ITERM_.*", "KITTY_.*", "WEZTERM_.*", "ALACRITTY_.*", "GHOSTTY_.*", "KONSOLE_.*", "GNOME_TERMINAL_.*"),
        *("XTERM_(VERSION|LOCALE|SHELL)", "TILIX_ID", "TERMINATOR_.*", "GUAKE_TAB_UUID"),
    ),
    "a multiplexer": ("TMUX.*", "STY", "WINDOW", "ZELLIJ.*", "BYOBU_.*"),
    "an editor": ("VSCODE_.*", "CURSOR_(AGENT|TRACE_ID)", "ZED_TERM", "INSIDE_EMACS", "NVIM", "NVIM_LISTEN_ADDRESS"),
    # Not SSH_AUTH_SOCK and SSH_ASKPASS, which say where keys are.
    "a login over the network": ("SSH_(CLIENT|CONNECTION|TTY|ORIGINAL_COMMAND)",),
    # `git rev-parse --local-env-vars`, what git tells hooks, and the dates that it fixes for one commit.
    "git, of one repository or command": (
        "GIT_(DIR|WORK_TREE|IMPLICIT_WORK_TREE|COMMON_DIR|INDEX_FILE|INDEX_VERSION|PREFIX|NAMESPACE|SHALLOW_FILE)",
        "GIT_(OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|QUARANTINE_PATH|GRAFT_FILE|REPLACE_REF_BASE)",
        "GIT_(NO_REPLACE_OBJECTS|ATTR_SOURCE|EXEC_PATH|REFLOG_ACTION|LITERAL_PATHSPECS|INTERNAL_.*|PUSH_OPTION_.*)",
        "GIT_CONFIG(_PARAMETERS|_COUNT|_KEY_.*|_VALUE_.*)?",
        "GIT_(AUTHOR|COMMITTER)_DATE",
    ),
    # Under them its own kind takes itself for a part of it: Claude Code keeps no session then.
    "a coding agent, for what it runs": (
        *("CLAUDECODE", "CLAUDE_CODE_.*", "CLAUDE_(PROJECT_DIR|ENV_FILE|PLUGIN_ROOT|PLUGIN_DATA)"),
        "CLAUDE_AGENT_SDK_VERSION",
        *("CODEX_(SANDBOX.*|THREAD_ID|CI|INTERNAL_.*|MANAGED_.*)", "GEMINI_CLI", "GEMINI_CLI_IDE_.*"),
        *("QWEN_CODE", "QWEN_CODE_IDE_.*", "OPENCODE", "OPENCODE_(PID|CALLER|RUN_ID|PROCESS_ROLE|CLIENT|SERVER)"),
        *("COPILOT_CLI", "AMP_CURRENT_THREAD_ID", "GOOSE_TERMINAL", "AGENT", "AI_AGENT"),
    ),
}
"""Regular expressions of whole names, by who sets them."""

_SETTINGS = (
    "CLAUDE_CODE_(OAUTH_TOKEN|USE_.*|SKIP_.*|DISABLE_.*|ENABLE_.*|MAX_.*|CLIENT_.*|API_KEY_HELPER_TTL_MS)",
    "CLAUDE_CODE_(SUBAGENT_MODEL|EFFORT_LEVEL|SHELL|SHELL_PREFIX|TMPDIR|PROXY_RESOLVES_HOSTS|AUTO_COMPACT_WINDOW)",
)
"""Names that people set although they begin like those above."""

_LEFT_OUT = re.compile("|".join(pattern for patterns in _STATE.values() for pattern in patterns))
_KEPT = re.compile("|".join(_SETTINGS))
_NAME = re.compile(ENVIRONMENT_NAME)


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """Take from the environment that agentd was started in what agents inherit.

    A name that no shell could set is left out as well.
    """
    return {name: value for name, value in environ.items() if _is_inherited(name)}


def _is_inherited(name: str) -> bool:
    if not _NAME.fullmatch(name):
        return False
    return _LEFT_OUT.fullmatch(name) is None or _KEPT.fullmatch(name) is not None
