"""The MCP server's command line, as ``agentctl mcp`` makes it."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from agentd.files.streams import with_streams
from agentd.mcp.address import Address
from agentd.model.pool import LOCKDOWN_VARIABLE
from agentd.settings.folders import SettingsError
from agentd.settings.lean_imports import import_aiohttp_without_certificates, import_structlog_alone
from agentd.settings.options import USAGE_ERROR, add_options, flags_of, settings_from

_NAME = "agentctl mcp"

_COLLECT_AFTER: Final = 100_000
"""Objects allocated before garbage is collected."""


def build_parser() -> argparse.ArgumentParser:
    """Build the parser."""
    parser = argparse.ArgumentParser(prog=_NAME, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--json", action="store_true")
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
    """Serve until the host hangs up, or a signal; give the exit status."""
    return with_streams(_NAME, lambda: _main(sys.argv[1:] if argv is None else argv))


def _failed(message: str, status: int, *, as_json: bool) -> int:
    """Say why it does not serve; with ``--json`` as agentctl's commands about workers do, too."""
    if as_json:
        code = "usage" if status == USAGE_ERROR else "failed"
        document = {"error": {"code": code, "message": message, "details": {"example": f"{_NAME} --help"}}}
        sys.stdout.write(f"{json.dumps(document)}\n")
    sys.stderr.write(f"{_NAME}: {message}\n")
    return status


def _main(argv: Sequence[str]) -> int:
    # The models of the protocol stay: to look for garbage among them took 0.07 of 0.93 s of CPU.
    gc.set_threshold(_COLLECT_AFTER)
    as_json = "--json" in argv
    parser = build_parser()
    try:
        arguments = parser.parse_args(argv)
        settings = settings_from(arguments, os.environ)
    except (SettingsError, argparse.ArgumentError) as error:
        return _failed(str(error), USAGE_ERROR, as_json=as_json)
    import_structlog_alone()
    import_aiohttp_without_certificates()
    from agentd.mcp.run import Serving, StartError, serve  # noqa: PLC0415 (after these)
    from agentd.mcp.toolsets.all import ToolsetError  # noqa: PLC0415

    serving = Serving(
        flags=flags_of(settings),
        toolsets=arguments.toolsets,
        tools=arguments.tools,
        lockdown=arguments.lockdown or os.environ.get(LOCKDOWN_VARIABLE, "") not in {"", "0"},
        address=arguments.http,
        token_file=arguments.token_file,
        without_token=arguments.no_token,
    )
    try:
        asyncio.run(serve(settings, serving))
    except (ToolsetError, StartError) as error:
        return _failed(str(error), USAGE_ERROR if isinstance(error, ToolsetError) else 1, as_json=as_json)
    except KeyboardInterrupt:
        pass
    return 0
