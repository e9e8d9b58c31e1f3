"""The flags of both commands: their names, defaults and environment variables.

Imported by ``agentctl --help``: nothing that argparse does not import anyway may be imported here.
"""

from __future__ import annotations

from enum import StrEnum


class OnShutdown(StrEnum):
    """What happens to the agents when the daemon is told to end."""

    STOP = "stop"
    KEEP = "keep"


class LogFormat(StrEnum):
    """How log events are written."""

    CONSOLE = "console"
    JSON = "json"


class Option:
    """One setting: its flag, its defaults and its environment variable.

    Not a dataclass: importing dataclasses costs 13 ms.

    Parameters
    ----------
    flag
        As typed.
    metavar
        Placeholder of its value.
    help
        What it sets.
    as_root
        Default if the effective user is root; if empty, the daemon decides when it starts.
    as_user
        Default otherwise; may begin with an XDG folder such as ``$XDG_CONFIG_HOME``.
    environment
        Environment variable that also sets it.
    default_text
        Text of an empty default in ``--help``.
    choices
        All possible values; empty allows any.
    """

    __slots__ = ("as_root", "as_user", "choices", "default_text", "environment", "flag", "help", "metavar")

    def __init__(  # noqa: PLR0913, PLR0917 (the fields of a record)
        self,
        flag: str,
        metavar: str,
        help: str,  # noqa: A002 (as in argparse)
        as_root: str,
        as_user: str,
        environment: str | None = None,
        default_text: str | None = None,
        choices: tuple[str, ...] = (),
    ) -> None:
        self.flag = flag
        self.metavar = metavar
        self.help = help
        self.as_root = as_root
        self.as_user = as_user
        self.environment = environment
        self.default_text = default_text
        self.choices = choices

    @property
    def field(self) -> str:
        """The attribute of `agentd.settings.settings.Settings` that it sets."""
        return self.flag.removeprefix("--").replace("-", "_")


TRANSCRIPTS = "2GiB"
"""Default limit of all transcripts."""

INTERVAL = "5s"
"""Default time between resyncs."""

OPTIONS: tuple[Option, ...] = (
    Option(
        "--config",
        "PATH",
        "the jcard: which agents to run",
        "/etc/stereos/jcard.toml",
        "$XDG_CONFIG_HOME/agentd/jcard.toml",
        "AGENTD_CONFIG",
    ),
    Option(
        "--config-dir",
        "PATH",
        "folder of the drop-ins: more files that declare agents",
        "",
        "",
        "AGENTD_CONFIG_DIR",
        default_text="NAME.d beside the jcard NAME.toml",
    ),
    Option(
        "--secret-dir",
        "PATH",
        "folder with one file for each secret",
        "/run/stereos/secrets",
        "$XDG_CONFIG_HOME/agentd/secrets",
        "AGENTD_SECRET_DIR",
    ),
    Option(
        "--tmux-socket",
        "PATH",
        "socket of the agents' own tmux server",
        "/run/agentd/tmux.sock",
        "$XDG_RUNTIME_DIR/agentd/tmux.sock",
        "AGENTD_TMUX_SOCKET",
    ),
    Option(
        "--api-socket",
        "PATH",
        "socket of the status API",
        "/run/stereos/agentd.sock",
        "$XDG_RUNTIME_DIR/agentd/agentd.sock",
        "AGENTD_API_SOCKET",
    ),
    Option(
        "--state-dir",
        "PATH",
        "folder for what must outlive the daemon",
        "/var/lib/agentd",
        "$XDG_STATE_HOME/agentd",
        "AGENTD_STATE_DIR",
    ),
    Option(
        "--data-dir",
        "PATH",
        "folder of the agents' worktrees and workspaces",
        "",
        "$XDG_DATA_HOME/agentd",
        "AGENTD_DATA_DIR",
        default_text="as root .local/share/agentd in the agents' home, else $XDG_DATA_HOME/agentd",
    ),
    Option(
        "--agent-user",
        "NAME",
        "user that the agents run as",
        "",
        "",
        "AGENTD_AGENT_USER",
        default_text="as root: agent if that user exists, else root; else the invoking user",
    ),
    Option(
        "--admin-group",
        "NAME",
        "group that may use the sockets",
        "",
        "",
        "AGENTD_ADMIN_GROUP",
        default_text="as root: admin if that group exists; else none",
    ),
    Option(
        "--transcripts",
        "SIZE|off",
        "how much to keep of what agents print, in all; off records nothing",
        TRANSCRIPTS,
        TRANSCRIPTS,
    ),
    Option("--interval", "DURATION", "time between two resyncs, beside file watching", INTERVAL, INTERVAL),
    Option("--launch-concurrency", "N", "agents that may be starting at the same time", "50", "50"),
    Option(
        "--on-shutdown",
        "stop|keep",
        "what becomes of the agents at SIGTERM",
        OnShutdown.STOP,
        OnShutdown.STOP,
        choices=tuple(OnShutdown),
    ),
    Option(
        "--log-format",
        "console|json",
        "how log events are written",
        "",
        "",
        default_text="console on a terminal, else json",
        choices=tuple(LogFormat),
    ),
)
"""Every setting that takes a value; ``--debug`` is the one that does not."""

SHARED_FIELDS = frozenset(
    {
        "config",
        "config_dir",
        "secret_dir",
        "tmux_socket",
        "api_socket",
        "state_dir",
        "data_dir",
        "agent_user",
    }
)
"""Settings that agentctl takes, too."""

GATEWAY_FIELDS = (
    "config",
    "config_dir",
    "secret_dir",
    "api_socket",
    "state_dir",
    "data_dir",
    "agent_user",
    "admin_group",
    "log_format",
)
"""The settings that agentd-gateway has, too, with the same flags, defaults and variables."""
