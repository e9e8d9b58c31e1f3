"""``agentd``: the daemon's command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace

from agentd.files.streams import with_streams
from agentd.settings.daemon_parser import build_parser
from agentd.settings.folders import SettingsError
from agentd.settings.go_flags import notes, parse, runsc
from agentd.settings.lean_imports import import_aiohttp_without_certificates, import_structlog_alone
from agentd.settings.options import USAGE_ERROR, accept_one_dash, settings_from
from agentd.settings.settings import Settings


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
        settings = replace(settings_from(arguments, os.environ), runsc=runsc(arguments))
    except SettingsError as error:
        parser.exit(USAGE_ERROR, f"agentd: {error}\n")
    ignored = notes(words)
    return _check(settings, ignored) if arguments.check else _run(settings, ignored)


def _run(settings: Settings, ignored: Sequence[str]) -> int:
    from agentd.process.inherited_state import reset_signals
    from agentd.process.init_process import become_init
    from agentd.process.memory import keep_imports, stop_collecting

    reset_signals()
    # Before the rest is imported, which takes memory that the parent does not need.
    become_init()
    stop_collecting()
    import_structlog_alone()
    import_aiohttp_without_certificates()
    from agentd.daemon.preload import preload
    from agentd.daemon.run import run

    preload()
    keep_imports()
    return run(settings, ignored)


def _check(settings: Settings, ignored: Sequence[str]) -> int:
    from agentd.supervise.check import check, check_lines
    from agentd.text.quoting import printable
    from agentd.text.terminal import display_of

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
