"""``agentd``: the daemon's command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from agentd import __version__
from agentd.cli.go_flags import add_sandbox_flags, notes, parse
from agentd.cli.options import USAGE_ERROR, accept_one_dash, add_options, settings_from
from agentd.cli.streams import with_streams
from agentd.daemon.settings import Settings, SettingsError

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

_CERTIFICATES = "SSL_CERT_FILE"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon, or check the config; give the exit status.

    Raises
    ------
    SystemExit
        With status 2 for a command line that cannot be understood, 0 after ``--help`` and ``--version``.
    """
    return with_streams("agentd", lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(argv: Sequence[str]) -> int:
    parser = build_parser()
    arguments, words = parse(parser, accept_one_dash(argv, parser))
    try:
        settings = settings_from(arguments, os.environ)
    except SettingsError as error:
        parser.exit(USAGE_ERROR, f"agentd: {error}\n")
    ignored = notes(arguments, words)
    return _check(settings, ignored) if arguments.check else _run(settings, ignored)


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


def _run(settings: Settings, ignored: Sequence[str]) -> int:
    from agentd.daemon.first_process import leave_first_place
    from agentd.daemon.handed_down import listen_again
    from agentd.daemon.memory import keep_imports, stop_collecting

    listen_again()
    # Before the rest is imported, which takes memory that the parent does not need.
    leave_first_place()
    stop_collecting()
    _import_structlog_alone()
    _import_aiohttp_without_certificates()
    from agentd.daemon.preload import preload
    from agentd.daemon.run import run

    preload()
    keep_imports()
    return run(settings, ignored)


def _import_structlog_alone() -> None:
    """Import structlog without rich, for whose pretty tracebacks it looks and which we do not use: 60 ms and 5 MB."""
    hidden = "rich" not in sys.modules
    if hidden:
        sys.modules["rich"] = None  # type: ignore[assignment]  # what makes an import fail, by importlib's own rule
    import structlog  # noqa: F401

    if hidden:
        # A harness of somebody else's may want it.
        del sys.modules["rich"]


def _import_aiohttp_without_certificates() -> None:
    """Import aiohttp without the system's certificates, which it reads at once: 50 ms and 2 MB for an HTTPS never used.

    OpenSSL is told where they stand by the environment, and agents are to have that as it was.
    """
    before = os.environ.get(_CERTIFICATES)
    os.environ[_CERTIFICATES] = os.devnull
    try:
        import aiohttp  # noqa: F401
    finally:
        if before is None:
            del os.environ[_CERTIFICATES]
        else:
            os.environ[_CERTIFICATES] = before


def _check(settings: Settings, ignored: Sequence[str]) -> int:
    from agentd.cli.check import check, check_lines
    from agentd.cli.terminal import display_of
    from agentd.jcard.quoting import printable

    try:
        result = check(settings, os.environ)
    except SettingsError as error:
        print(f"agentd: {printable(str(error))}", file=sys.stderr)
        return USAGE_ERROR
    for text in ignored:
        print(f"agentd: warning: {printable(text)}", file=sys.stderr)
    print("\n".join(check_lines(result, display_of(sys.stdout, os.environ))))
    return 0 if result.valid else 1


if __name__ == "__main__":
    sys.exit(main())
