"""``agentd-gateway``: its command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from agentd import __version__
from agentd.files.streams import with_streams
from agentd.model.gateway import DEFAULT_CONCURRENCY, DEFAULT_LISTEN
from agentd.settings.extras import how_to_install
from agentd.settings.flags import GATEWAY_FIELDS
from agentd.settings.folders import SettingsError
from agentd.settings.go_flags import refuse_unknown
from agentd.settings.lean_imports import import_aiohttp_without_certificates, import_structlog_alone
from agentd.settings.options import USAGE_ERROR, add_options, settings_from

_DESCRIPTION = """\
Lets browsers, phones, other agents and OpenAI clients talk to the agents that agentd runs.
Stays in the foreground and logs to stderr. Settings stand in [gateway] of the jcard, too; a flag wins."""

_EPILOG = """\
examples:
  agentd-gateway                                            listen on 127.0.0.1:8765
  agentd-gateway --listen unix:/run/agentd/gateway.sock
  AGENTD_AUTH_TOKEN=… agentd-gateway --listen 0.0.0.0:8765   others need the token
  agentd-gateway migrate --database postgresql+asyncpg://agentd@localhost/agentd

Tokens in AGENTD_AUTH_TOKEN, AGENTD_AUTH_TOKENS (separated by commas) and AGENTD_API_KEY are an administrator's.
signals: SIGTERM and SIGINT end it; turns go on, and the next gateway tells how they ended.
exit status: 0 clean end, 1 cannot start, 2 bad usage."""

_OF_THE_EXTRA = ("alembic", "asyncpg", "sqlalchemy")


def build_parser() -> argparse.ArgumentParser:
    """Build the parser."""
    parser = argparse.ArgumentParser(
        prog="agentd-gateway",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=("serve", "migrate"),
        default="serve",
        help="migrate: bring the database to this version's schema and exit; serve is the default",
    )
    parser.add_argument(
        "--listen",
        metavar="ADDRESS",
        action="append",
        default=[],
        help=f"where to listen: HOST:PORT or unix:PATH; may be given several times [{DEFAULT_LISTEN}]",
    )
    parser.add_argument(
        "--database",
        metavar="URL",
        help="sqlite:///PATH or postgresql+asyncpg://USER@HOST/NAME [gateway.db in the state directory]",
    )
    parser.add_argument(
        "--max-concurrency",
        metavar="N",
        type=_count,
        help=f"runs that are at work at the same time [{DEFAULT_CONCURRENCY}]",
    )
    parser.add_argument(
        "--auth-token-file",
        metavar="FILE",
        action="append",
        default=[],
        help="file with an administrator's token on each line; may be given several times",
    )
    parser.add_argument(
        "--auth-token",
        metavar="TOKEN",
        action="append",
        default=[],
        help="an administrator's token; every user of the machine can read it in the list of processes",
    )
    parser.add_argument(
        "--no-migrate", action="store_true", help="refuse a database whose schema is not this version's"
    )
    add_options(parser, GATEWAY_FIELDS)
    parser.add_argument("--debug", action="store_true", help="log more")
    parser.add_argument("--version", action="version", version=f"agentd-gateway {__version__}")
    return parser


def _count(text: str) -> int:
    from agentd.jcard.gateway_table import MOST_AT_ONCE

    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_AT_ONCE:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {MOST_AT_ONCE}, found {text!r}")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the gateway, or migrate its database; give the exit status.

    Raises
    ------
    SystemExit
        With status 2 for a command line that cannot be understood, 0 after ``--help`` and ``--version``.
    """
    return with_streams("agentd-gateway", lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(argv: Sequence[str]) -> int:
    parser = build_parser()
    refuse_unknown(parser, argv)
    arguments = parser.parse_args(argv)
    try:
        daemon = settings_from(arguments, os.environ)
    except SettingsError as error:
        parser.exit(USAGE_ERROR, f"agentd-gateway: {error}\n")
    missing = [name for name in _OF_THE_EXTRA if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"agentd-gateway: cannot start: {', '.join(missing)} not installed: {how_to_install('gateway')}\n"
        )
        return 1
    from agentd.process.memory import keep_imports, stop_collecting

    stop_collecting()
    import_structlog_alone()
    import_aiohttp_without_certificates()
    from agentd.gateway.run import migrate, run
    from agentd.gateway.settings import Flags

    keep_imports()

    flags = Flags(
        listen=tuple(arguments.listen),
        database=arguments.database,
        max_concurrency=arguments.max_concurrency,
        token_files=tuple(arguments.auth_token_file),
        tokens=tuple(arguments.auth_token),
        migrate=not arguments.no_migrate,
    )
    return migrate(daemon, flags) if arguments.command == "migrate" else run(daemon, flags)
