"""The parser of ``agentd``'s command line; the manual page is made from it too."""

from __future__ import annotations

import argparse

from agentd import __version__
from agentd.settings.go_flags import add_sandbox_flags
from agentd.settings.options import add_options

_DESCRIPTION = """\
Runs AI coding agents the way systemd runs services: one declarative file, one supervised tmux session for each agent.
Stays in the foreground and logs to stderr."""

_EPILOG = """\
A flag wins over its environment variable (in capitals above), and that over the default.
Each flag may also be written with one dash: -config PATH; one without a value takes true or false: -debug=false.

examples:
  agentd --config ./jcard.toml
  agentd --check --config ./jcard.toml      is this file good? who would run where?
  agentd --on-shutdown keep                 leave the agents running, for the next agentd to adopt

signals: SIGHUP reconciles now; SIGTERM and SIGINT stop every agent gracefully, a second one stops at once.
exit status: 0 clean shutdown, 1 cannot start (or --check found errors), 2 bad usage."""


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the daemon's command line."""
    parser = argparse.ArgumentParser(
        prog="agentd",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_options(parser)
    add_sandbox_flags(parser)
    parser.add_argument(
        "--debug",
        action="store_true",
        help="log each agent's argv, workdir and names of environment variables, and its last screen when it exits",
    )
    parser.add_argument("--check", action="store_true", help="parse and validate the config, print the result and exit")
    parser.add_argument("--version", action="version", version=f"agentd {__version__}")
    return parser
