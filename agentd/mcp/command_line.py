"""The MCP server's command line, as ``agentctl mcp`` makes it."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from agentd.files.streams import with_streams
from agentd.mcp.address import Address
from agentd.settings.folders import SettingsError
from agentd.settings.lean_imports import import_aiohttp_without_certificates, import_structlog_alone
from agentd.settings.options import USAGE_ERROR, add_options, flags_of, settings_from

LOCKDOWN = "AGENTD_MCP_LOCKDOWN"

_NAME = "agentctl mcp"


def build_parser() -> argparse.ArgumentParser:
    """Build the parser."""
    parser = argparse.ArgumentParser(prog=_NAME, allow_abbrev=False)
    parser.add_argument("--toolsets", type=_names, default=("default",))
    parser.add_argument("--tools", type=_names)
    parser.add_argument("--lockdown", action="store_true")
    parser.add_argument("--http", type=_address)
    parser.add_argument("--token-file", type=Path)
    parser.add_argument("--no-token", action="store_true")
    add_options(parser)
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in (each.strip() for each in text.split(",")) if name)


def _address(text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until the host hangs up, or a signal; give the exit status.

    Raises
    ------
    SystemExit
        With status 2 for a command line that cannot be understood.
    """
    return with_streams(_NAME, lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(argv: Sequence[str]) -> int:
    parser = build_parser()
    arguments = parser.parse_args(argv)
    try:
        settings = settings_from(arguments, os.environ)
    except SettingsError as error:
        parser.exit(USAGE_ERROR, f"{_NAME}: {error}\n")
    import_structlog_alone()
    import_aiohttp_without_certificates()
    from agentd.mcp.run import Serving, StartError, serve  # noqa: PLC0415 (after these)
    from agentd.mcp.toolsets.all import ToolsetError  # noqa: PLC0415

    serving = Serving(
        flags=flags_of(settings),
        toolsets=arguments.toolsets,
        tools=arguments.tools,
        lockdown=arguments.lockdown or os.environ.get(LOCKDOWN, "") not in {"", "0"},
        address=arguments.http,
        token_file=arguments.token_file,
        without_token=arguments.no_token,
    )
    try:
        asyncio.run(serve(settings, serving))
    except (ToolsetError, StartError) as error:
        sys.stderr.write(f"{_NAME}: {error}\n")
        return USAGE_ERROR if isinstance(error, ToolsetError) else 1
    except KeyboardInterrupt:
        pass
    return 0
