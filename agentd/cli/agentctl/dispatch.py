"""Run a command, and report its errors."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

from agentd.cli.agentctl.catalogue import STRUCTURED
from agentd.cli.agentctl.client import Api, ApiError, UnreachableError
from agentd.cli.agentctl.command import CommandError, Invocation, Status, print_document, structured
from agentd.model.pool import WORKER_NAME
from agentd.process.inherited_state import reset_child_signals
from agentd.settings.flags import OPTIONS
from agentd.settings.folders import SettingsError
from agentd.settings.options import settings_from
from agentd.text.quoting import printable
from agentd.text.terminal import display_of


def dispatch(arguments: argparse.Namespace) -> int:
    """Run the parsed command and return its exit status."""
    # With --field alone stdout is for one value, so an error is told on stderr.
    as_json = bool(getattr(arguments, "json", False)) or hasattr(arguments, "format")
    reset_child_signals()
    try:
        exit_status = int(_run(arguments, as_json))
    except SettingsError as error:
        return _report(str(error), Status.USAGE, as_json, _structured(arguments, error, Status.USAGE))
    except CommandError as error:
        document = error.document or _structured(arguments, error, error.status, error.code, error.example)
        return _report(str(error), error.status, as_json, document)
    except ApiError as error:
        return _report(str(error), Status.FAILED, as_json, _structured(arguments, error, Status.FAILED, error.code))
    return exit_status


def _run(arguments: argparse.Namespace, as_json: bool) -> int:
    settings = settings_from(arguments, os.environ)
    program = "agentd"
    if getattr(arguments, "fleet", False):
        from dataclasses import replace

        from agentd.settings.sockets import fleet_socket

        settings, program = replace(settings, api_socket=fleet_socket(settings.api_socket)), "agentd-fleet"
    invocation = Invocation(
        arguments=arguments,
        settings=settings,
        api=Api(settings.api_socket),
        display=display_of(sys.stdout, os.environ),
        as_json=as_json or hasattr(arguments, "field"),
    )
    try:
        command_status: int = arguments.run(invocation)
    except UnreachableError as error:
        advice = _advice(invocation, kept_out=error.kept_out)
        message = f"{program} is not reachable on {settings.api_socket}: {error}{advice}"
        return _report(message, Status.UNREACHABLE, as_json, _structured(arguments, message, Status.UNREACHABLE))
    return command_status


def _advice(invocation: Invocation, *, kept_out: bool) -> str:
    if kept_out:
        return "; have somebody add you to that group, or name another socket with --api-socket or AGENTD_API_SOCKET"
    if invocation.fleet:
        import time

        from agentd.fleet.progress import what_is_wrong

        wrong = what_is_wrong(invocation.api.path, time.time())
        return f"; {wrong}" if wrong else "; start agentd-fleet head or join beside this agentd"
    from agentd.cli.agentctl.answers import answers

    option = next(option for option in OPTIONS if option.field == "api_socket")
    elsewhere = option.as_root
    if elsewhere != str(invocation.api.path) and answers(Path(elsewhere)) and Path(elsewhere).exists():
        return f"; the system's agentd has a socket: try {option.flag} {elsewhere}"
    return f"; start agentd, or name its socket with {option.flag} or {option.environment}"


def _structured(
    arguments: argparse.Namespace, error: object, status: Status, code: str = "", example: str = ""
) -> object:
    """Give the error as an object where the command is about workers, by itself or by the name that it was given."""
    command = str(getattr(arguments, "command", ""))
    about_workers = command in STRUCTURED or re.fullmatch(WORKER_NAME, str(getattr(arguments, "name", "")))
    return structured(command, str(error), status, code, example) if about_workers else None


def _report(message: str, status: Status, as_json: bool, document: object = None) -> Status:
    """Print an error on stderr; with ``--json`` on stdout too, so that there always is one document."""
    if as_json:
        print_document(document or {"error": message})
    print(f"agentctl: {printable(message)}", file=sys.stderr)
    return status
