"""``agentctl mcp`` and ``agentctl mcp-config``."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from agentd.cli.agentctl.command import CommandError, Commands, Invocation, Status
from agentd.settings.flags import OPTIONS, SHARED_FIELDS
from agentd.text.quoting import printable

_MCP = """\
Serves an agent's host, such as Claude Code or Codex, the tools to hand work to other agents: to see the providers,
spawn workers, wait for what they do, answer them and collect their work. Speaks the Model Context Protocol on standard
input and output, or by HTTP on loopback. agentctl mcp-config prints what a host must be told to run it.

The toolsets are default, agents, stats, sessions, leases, worktrees and hire; each tool costs the host tokens in every
turn. With --lockdown nothing that a worker wrote is shown: only states, numbers and ids. By HTTP, callers need the
token in --token-file, in AGENTD_MCP_TOKEN, or the one that is made and whose file is named at the start.
Needs the extra agentd[mcp]."""

_MCP_EXAMPLES = """\
agentctl mcp
agentctl mcp --toolsets default,agents --lockdown
agentctl mcp --http 127.0.0.1:8766 --token-file ~/.config/agentd/mcp-token"""

_CONFIG = """\
Prints the settings with which a host runs agentctl mcp, for the file that is named on stderr. With --install they are
written into that file, and what else stands there is kept. The flags that say where agentd's files are stand in them
as they are given here."""

_CONFIG_EXAMPLES = """\
agentctl mcp-config --client claude-code --install
agentctl mcp-config --client codex >> ~/.codex/config.toml"""


def register(commands: Commands) -> None:
    """Add the commands."""
    from agentd.cli.agentctl.mcp_hosts import MCP_HOSTS

    mcp = commands.add("mcp", _serve, details=_MCP, examples=_MCP_EXAMPLES)
    mcp.add_argument("--toolsets", metavar="NAMES", help="toolsets, separated by commas [default]")
    mcp.add_argument("--tools", metavar="NAMES", help="only these tools of them, separated by commas")
    mcp.add_argument("--lockdown", action="store_true", help="show nothing that a worker wrote [AGENTD_MCP_LOCKDOWN]")
    mcp.add_argument("--http", metavar="HOST:PORT", help="serve by HTTP here, on loopback, at /mcp")
    mcp.add_argument("--token-file", metavar="FILE", help="--http: file that holds the token")
    mcp.add_argument("--no-token", action="store_true", help="--http: let in every user of this machine")
    config = commands.add("mcp-config", _config, details=_CONFIG, examples=_CONFIG_EXAMPLES)
    config.add_argument("--client", required=True, choices=tuple(MCP_HOSTS), help="the host")
    config.add_argument("--install", action="store_true", help="write it into the host's settings")
    config.add_argument("--absolute-command", action="store_true", help="name agentctl by its whole path")
    config.add_argument("--toolsets", metavar="NAMES", help="toolsets, separated by commas [default]")
    config.add_argument("--lockdown", action="store_true", help="show nothing that a worker wrote")


def _serve(invocation: Invocation) -> Status:
    if find_spec("mcp") is None:
        from agentd.settings.extras import how_to_install

        raise CommandError(f"mcp needs its extra, which is not installed: {how_to_install('mcp')}")
    given = invocation.arguments
    argv = [sys.executable, "-P", "-m", "agentd.mcp", *_shared_flags(invocation)]
    values = {flag: getattr(given, flag.replace("-", "_")) for flag in ("toolsets", "tools", "http", "token-file")}
    argv += [f"--{flag}={value}" for flag, value in values.items() if value is not None]
    argv += [f"--{flag}" for flag in ("lockdown", "no-token") if getattr(given, flag.replace("-", "_"))]
    argv += ["--json"] if invocation.as_json else []
    sys.stdout.flush()
    os.execv(argv[0], argv)  # noqa: S606 (it takes this process's place, as its host's child)


def _config(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.mcp_hosts import MCP_HOSTS, UnreadableError, merged, rendered, settings_file

    given = invocation.arguments
    host = MCP_HOSTS[given.client]
    codex_home = os.environ.get("CODEX_HOME")
    file = settings_file(host, Path.cwd(), Path.home(), Path(codex_home) if codex_home else None)
    command = [_agentctl() if given.absolute_command else "agentctl", "mcp", *_shared_flags(invocation)]
    if given.toolsets is not None:
        command.append(f"--toolsets={given.toolsets}")
    if given.lockdown:
        command.append("--lockdown")
    if not given.install:
        text = rendered(host, command)
        document = {"client": given.client, "file": str(file), "command": command, "settings": text}
        if invocation.as_json:
            invocation.print_document(document)
        else:
            invocation.warn(f"for {printable(str(file))}")
            print(text, end="")
        return Status.DONE
    try:
        _write(file, merged(host, command, file.read_text() if file.exists() else ""))
    except (UnreadableError, OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{printable(str(file))} was left as it is: {printable(str(error))}") from None
    document = {"client": given.client, "file": str(file), "command": command}
    invocation.print_result(document, [f"{given.client} runs {' '.join(command[:2])}, by {printable(str(file))}"])
    return Status.DONE


def _write(file: Path, text: str) -> None:
    from agentd.files.replacing import Replacement

    file.parent.mkdir(parents=True, exist_ok=True)
    Replacement(file, text.encode()).take_place()


def _agentctl() -> str:
    """Give the path of this program."""
    beside = Path(sys.executable).with_name("agentctl")
    return str(beside if beside.exists() else Path(sys.argv[0]).resolve())


def _shared_flags(invocation: Invocation) -> list[str]:
    """Give the flags that say where agentd's files are, as far as they were given, by absolute paths."""
    given = vars(invocation.arguments)
    return [
        f"{option.flag}={getattr(invocation.settings, option.field)}"
        for option in OPTIONS
        if option.field in SHARED_FIELDS and option.field in given
    ]
