"""``agentctl service``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agentd.cli.agentctl.client import ApiError, UnreachableError
from agentd.cli.agentctl.command import CommandError, Commands, Invocation, Status, UsageError
from agentd.settings.flags import GATEWAY_FIELDS, OPTIONS, SHARED_FIELDS
from agentd.settings.folders import absolute, home_folder
from agentd.settings.settings import resolve_settings
from agentd.text.terminal import BOLD, Cell, lines

if TYPE_CHECKING:
    from agentd.cli.service.systemd import Systemd
    from agentd.cli.service.unit import Program

_DETAILS = """\
install writes the unit, enables it, and starts or restarts agentd. Agents keep running, and the new agentd adopts them.
uninstall stops agentd and removes the unit; agents keep running. status shows the unit's state. Each command that is
run is printed; --dry-run only prints them, and the unit.
With --system (the default for root) agentd runs as root, with --user (the default otherwise) as you. Paths given by
flags or AGENTD_ variables are written into the unit. Without systemd it says how to run agentd instead.
With --gateway all of it is about the service of agentd-gateway, which goes by [gateway] in the jcard."""

_EXAMPLES = """\
agentctl service install
agentctl service install --user --dry-run
agentctl service status
agentctl service install --gateway
agentctl service uninstall"""

_ACTIONS = ("install", "uninstall", "status")


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("service", _service, details=_DETAILS, examples=_EXAMPLES)
    parser.add_argument("action", metavar="ACTION", choices=_ACTIONS, help="install, uninstall or status")
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--user", action="store_true", help="a service of this user")
    whose.add_argument("--system", action="store_true", help="a service of the system, run as root")
    parser.add_argument("--gateway", action="store_true", help="the service of agentd-gateway instead of agentd's")
    parser.add_argument("--dry-run", action="store_true", help="only print the unit and the commands")
    parser.add_argument("--force", action="store_true", help="replace a unit that agentctl did not write")
    parser.add_argument("--unit-dir", metavar="PATH", help="folder of the unit [where systemd looks first]")


def _service(invocation: Invocation) -> Status:
    from agentd.cli.service.systemd import Systemd, SystemdError

    arguments, program = invocation.arguments, _program(invocation)
    user = arguments.user or not (arguments.system or os.geteuid() == 0)
    systemd = Systemd(
        user, program.unit, lambda command: None if invocation.as_json else print(f"$ {command}", flush=True)
    )
    if arguments.action != "status" and not user and os.geteuid() != 0 and not arguments.dry_run:
        raise CommandError("a system service needs root: use sudo agentctl service, or --user")
    act = {"status": _status, "install": _install, "uninstall": _uninstall}[arguments.action]
    try:
        return act(invocation, systemd)
    except SystemdError as error:
        raise CommandError(str(error)) from error


def _program(invocation: Invocation) -> Program:
    from agentd.cli.service.unit import AGENTD, GATEWAY

    return GATEWAY if invocation.arguments.gateway else AGENTD


def _unit_path(invocation: Invocation, user: bool) -> Path:
    name = _program(invocation).unit
    given: str | None = invocation.arguments.unit_dir
    if given is not None:
        return absolute(given) / name
    if not user:
        return Path("/etc/systemd/system", name)
    config = os.environ.get("XDG_CONFIG_HOME")
    folder = Path(config) if config and Path(config).is_absolute() else home_folder(os.environ) / ".config"
    return folder / "systemd/user" / name


def _command(invocation: Invocation, user: bool) -> list[str]:
    """Build the program's command line, with the settings that differ from its defaults."""
    settings, program = invocation.settings, _program(invocation)
    fields = SHARED_FIELDS.intersection(GATEWAY_FIELDS) if invocation.arguments.gateway else SHARED_FIELDS
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AGENTD_")}
    defaults = resolve_settings({}, clean, root=not user)
    flags = [
        f"{option.flag}={value}"
        for option in OPTIONS
        if option.field in fields
        and (value := getattr(settings, option.field)) is not None
        and value != getattr(defaults, option.field)
    ]
    # Beside this Python: the first one on the PATH may be of another installation.
    beside = Path(sys.executable).with_name(program.name)
    return [str(beside) if beside.exists() else f"/usr/bin/{program.name}", *flags, *program.flags]


def _install(invocation: Invocation, systemd: Systemd) -> Status:
    from agentd.cli.service.systemd import needed
    from agentd.cli.service.unit import unit_text

    command = _command(invocation, systemd.user)
    # systemd gives a user's service a short PATH, without the folders where coding agents are installed.
    environment = {"PATH": os.environ["PATH"]} if systemd.user and "PATH" in os.environ else {}
    text = unit_text(_program(invocation), command, user=systemd.user, environment=environment)
    path = _unit_path(invocation, systemd.user)
    steps = [("daemon-reload",), ("enable", systemd.unit), ("restart", systemd.unit)]
    if invocation.arguments.dry_run:
        return _describe(invocation, systemd, steps, path, text)
    needed(systemd, command)
    _refuse_foreign(path, invocation.arguments.force)
    _refuse_second(invocation, systemd)
    _write(path, text)
    if not invocation.as_json:
        print(f"wrote {path}", flush=True)
    for step in steps:
        systemd.run(*step)
    return _report(invocation, systemd, steps, path)


def _refuse_foreign(path: Path, force: bool) -> None:
    from agentd.cli.service.unit import written_by_us

    try:
        foreign = not written_by_us(path.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return
    if foreign and not force:
        raise CommandError(f"{path} was not written by agentctl: keep it and use systemctl, or replace it with --force")


def _refuse_second(invocation: Invocation, systemd: Systemd) -> None:
    """Refuse while another agentd holds the sockets: the service could not start."""
    if invocation.arguments.gateway:
        return
    try:
        pid = invocation.api.health().pid
    except (UnreachableError, ApiError):
        return
    if str(pid) != systemd.state()["MainPID"]:
        raise CommandError(
            f"an agentd (pid {pid}) that systemd did not start serves {invocation.api.path}: stop it with kill {pid}, "
            "and install again"
        )


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}")
        part.write_text(text, encoding="utf-8")
        part.chmod(0o644)
        part.replace(path)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}; name another folder with --unit-dir") from error


def _uninstall(invocation: Invocation, systemd: Systemd) -> Status:
    from agentd.cli.service.systemd import needed

    path = _unit_path(invocation, systemd.user)
    steps = [("disable", "--now", systemd.unit), ("daemon-reload",)]
    if invocation.arguments.dry_run:
        return _describe(invocation, systemd, steps, path, None)
    needed(systemd, _command(invocation, systemd.user))
    if not path.exists():
        raise CommandError(f"{path} does not exist: nothing is installed there; --unit-dir names another folder")
    _refuse_foreign(path, invocation.arguments.force)
    systemd.run(*steps[0])
    path.unlink()
    if not invocation.as_json:
        print(f"removed {path}", flush=True)
    systemd.run(*steps[1])
    if invocation.as_json:
        return _report(invocation, systemd, steps, path)
    if invocation.arguments.gateway:
        return Status.DONE
    socket = invocation.settings.tmux_socket
    print(f"agents keep running without a supervisor; to stop them: tmux -S {socket} kill-server")
    return Status.DONE


def _describe(
    invocation: Invocation, systemd: Systemd, steps: list[tuple[str, ...]], path: Path, text: str | None
) -> Status:
    commands = [systemd.command(*step) for step in steps]
    shown = [] if text is None else [f"would write {path}:", *(f"  {line}".rstrip() for line in text.splitlines())]
    shown += ["would run:", *(f"  {' '.join(command)}" for command in commands)]
    invocation.print_result({"unit": str(path), "text": text, "commands": commands}, shown)
    return Status.DONE


def _report(invocation: Invocation, systemd: Systemd, steps: list[tuple[str, ...]], path: Path) -> Status:
    if invocation.as_json:
        commands = [systemd.command(*step) for step in steps]
        invocation.print_document({"unit": str(path), "commands": commands, "state": systemd.state()})
        return Status.DONE
    name = _program(invocation).name
    journal = f"journalctl --user -u {name}" if systemd.user else f"journalctl -u {name}"
    print(f"{name} runs as a service; its log: {journal}")
    if systemd.user:
        print("it stops with your last session, unless you run: loginctl enable-linger")
    return Status.DONE


def _status(invocation: Invocation, systemd: Systemd) -> Status:
    from agentd.cli.service.systemd import needed

    if invocation.arguments.dry_run or invocation.arguments.force:
        raise UsageError("status changes nothing: leave out --dry-run and --force")
    needed(systemd, _command(invocation, systemd.user))
    state = systemd.state()
    rows = [[Cell(name, BOLD), Cell(value)] for name, value in state.items()]
    invocation.print_result(state, lines(("PROPERTY", "VALUE"), rows, invocation.display))
    return Status.DONE if state["ActiveState"] == "active" else Status.FAILED
