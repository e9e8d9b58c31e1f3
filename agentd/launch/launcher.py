"""The launcher: the small sh script that each run executes in its pane.

It holds environment, workdir and argv, so no secret and no prompt is on a command line, no length limit but the
kernel's applies, and no shell parses the prompt. It runs the agent as its foreground child, records the exact exit
status and then becomes an interactive shell. It costs 1 ms of CPU; a Python launcher would cost 15-20 ms.

Two files beside the script tell agentd about the run: ``ID.pid`` (the agent's line of /proc/PID/stat) and ``ID.exit``
(its exit status, and the seconds since boot where the system tells). Each is written with one ``write``, its line break
last, so a reader never takes half a value.
A line in the ``hints`` FIFO, opened for reading and writing so that it never blocks without a reader, says that a
file is there; the FIFO carries no facts, so a lost hint costs only time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from agentd.text.quoting import shell_quote
from agentd.tmux.guard import ENDED_MARK

HINTS = "hints"
"""Name in the runtime directory of the FIFO by which launchers say that a report is there."""

SANDBOX_SUFFIX, SANDBOX_INPUT = b".sandbox", b".sandbox-input"
"""Files of a run in a sandbox: what was said while that was made, and what it was made from."""

INPUT_FD, TERMINAL_FD = 9, 7
"""Descriptors that a sandbox is started with: `SANDBOX_INPUT`, and what is to be the agent's standard error. Its own
standard error is `SANDBOX_SUFFIX`."""

GO_SUFFIX = b".go"
"""FIFO of a run that waits for agentd before it executes the agent."""

READY = "ready"
"""The last that is said when a sandbox was made."""

LAUNCH_FAILED = "launch-failed"
"""First word of ``ID.exit`` when there was no agent to run; the rest of the line says why."""

_END_MARK = b"7077;agentd;ended"
"""What the launcher tells the terminal after the last that the agent printed: an operating system command of a number
that nobody uses, so that no terminal shows it (tmux 3.3 does not even hand it on)."""

MAX_ARGUMENT_BYTES = 128 * 1024 - 1
"""The kernel's limit for one argument or environment string, its NUL not counted (MAX_ARG_STRLEN, execve(2))."""

_SET_BY_TMUX = ("TMUX", "TMUX_PANE", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "COLORTERM")
_INHERITED_FROM_SERVER = ("PATH", "LANG", "HOME", "USER", "LOGNAME", "SHELL", "TMUX_TMPDIR")
_SET_BY_SHELLS = ("OLDPWD", "SHLVL")
"""What every pane is handed; the agent gets exactly its own environment instead."""

_OF_THE_SHELL = frozenset({"PWD", "_"})
"""Kept by the shell itself: the working directory and the program it runs."""
_REFUSED_BY_SHELLS = frozenset({"BASHOPTS", "BASH_VERSINFO", "EUID", "OPTIND", "PPID", "SHELLOPTS", "UID"})
"""Some shells end when these are set or unset: read-only in bash, dash takes only numbers for ``OPTIND``."""

_RESET_TERMINAL = (
    # Leave the alternate screen; no mouse and focus reports, no bracketed paste.
    r"\033[?1049l\033[?1000l\033[?1002l\033[?1003l\033[?1004l\033[?1006l\033[?2004l"
    # Normal cursor and keypad keys, wrapped lines; the whole screen scrolls (the cursor, which that moves, is kept).
    r"\033[?1l\033>\033[?7h\0337\033[r\0338"
    # Visible cursor, ASCII, no colours.
    r"\033[?25h\033(B\033[0m"
)
"""What a killed full-screen program may have left on is turned off."""


_SURELY_FITS = MAX_ARGUMENT_BYTES // 4
"""Characters that are within the limit whatever they are: UTF-8 takes at most 4 bytes for one."""


class Wrapper(Protocol):
    """The sandbox that the agent is executed in.

    It says `READY` on its standard error just before it executes the agent; until then the last line there says what
    went wrong.
    """

    def fed(self, script: LaunchScript, /) -> bytes:
        """Give the arguments of printf that write what it reads from `INPUT_FD`.

        They are evaluated by the launcher: ``$TERM`` is the pane's, ``$mask`` the umask that the agent is to have.
        """

    def command(self, script: LaunchScript, /) -> bytes:
        """Give the command to execute, with the agent's in it."""

    def processes(self, limit: int, /) -> int:
        """Give how many processes and threads the host sees beside the agent's, if that may have so many."""

    def trial(self, script: LaunchScript, /) -> bytes:
        """Give a command that makes the same sandbox, without the agent, to hear what goes wrong; may be empty."""


@dataclass(frozen=True, slots=True)
class LaunchScript:
    """What one run executes."""

    agent: str
    run_id: str
    argv: tuple[str, ...] = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    """The whole environment but TERM, which tmux sets, and PWD, which is the workdir."""
    workdir: str
    open_files: int | None = None
    """Soft limit of open files, if not the tmux server's, which needs a high one."""
    wrapper: Wrapper | None = None
    held: bool = False
    """Whether it waits before it executes the agent, until agentd has put it into its control group."""


def end_mark(run_id: str) -> bytes:
    """What stands in a terminal's output between the last of a run and the shell that follows."""
    return b"\033]%s;%s\033\\" % (_END_MARK, run_id.encode())


def oversized(argv: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """Name the first string that the kernel would refuse, or ``None``; values are not shown."""
    for index, word in enumerate(argv):
        if len(word) <= _SURELY_FITS:
            continue
        size = len(os.fsencode(word))
        if size > MAX_ARGUMENT_BYTES:
            what = "the prompt" if index == len(argv) - 1 else f"argument {index}"
            return f"{what} has {size} bytes; the kernel passes at most {MAX_ARGUMENT_BYTES} in one argument"
    for name, value in environment.items():
        if len(name) + len(value) < _SURELY_FITS:
            continue
        size = len(os.fsencode(name)) + 1 + len(os.fsencode(value))
        if size > MAX_ARGUMENT_BYTES:
            return f"environment variable {name} has {size} bytes; the kernel passes at most {MAX_ARGUMENT_BYTES}"
    return None


def render(script: LaunchScript, folder: Path) -> bytes:
    """Write the launcher of one run, whose files stand in `folder`.

    Raises
    ------
    ValueError
        If a word contains NUL.
    """
    inside = os.fsencode(folder) + b"/"
    stem = inside + script.run_id.encode()
    exported = {name: value for name, value in script.environment.items() if name not in _OF_THE_SHELL}
    # A variable that was unset first has lost what it means to the shell (RANDOM, SECONDS, LINENO in bash).
    unset = {*_SET_BY_TMUX, *_INHERITED_FROM_SERVER, *_SET_BY_SHELLS, *exported} - _REFUSED_BY_SHELLS
    names = {
        b"PID_FILE": shell_quote(stem + b".pid"),
        b"EXIT_FILE": shell_quote(stem + b".exit"),
        b"HINTS": shell_quote(inside + HINTS.encode()),
        b"CLOSING": shell_quote(inside + b"closing"),
        b"RUN": shell_quote(script.run_id),
        b"WORKDIR": shell_quote(script.workdir),
        b"AGENT": shell_quote(script.agent),
        b"UNSET": os.fsencode(" ".join(sorted(unset))),
        b"EXPORTS": b"\n".join(_export(name, value) for name, value in exported.items()),
        b"GO": shell_quote(stem + GO_SUFFIX),
        b"JOBS": b"" if script.wrapper is None else b"set -m",
        b"SIGNALS": b"trap - INT QUIT TERM" if script.wrapper is None else b"trap '' INT QUIT TERM",
        b"INPUT": b"" if script.wrapper is None else _write_input(script, script.wrapper, folder),
        b"ARGV": _command(script, folder),
        b"MADE": b"" if script.wrapper is None else _made(script, script.wrapper, stem),
        b"FILES": b"" if script.open_files is None else b"ulimit -S -n %d 2>/dev/null" % script.open_files,
        b"INSPECT": _INSPECT_QUOTED,
        b"FAILED": LAUNCH_FAILED.encode(),
        b"MARK": _END_MARK,
    }
    pieces = list(_HELD_PIECES if script.held else _PIECES)
    pieces[1::2] = [names[name] for name in pieces[1::2]]
    return b"".join(pieces)


def _command(script: LaunchScript, folder: Path) -> bytes:
    if script.wrapper is None:
        return b" ".join(map(shell_quote, script.argv))
    stem = os.fsencode(folder / script.run_id)
    names = TERMINAL_FD, shell_quote(stem + SANDBOX_SUFFIX), INPUT_FD, shell_quote(stem + SANDBOX_INPUT)
    return b"%d>&2 2>%s %d<%s " % names + script.wrapper.command(script)


def _write_input(script: LaunchScript, wrapper: Wrapper, folder: Path) -> bytes:
    file = shell_quote(os.fsencode(folder / script.run_id) + SANDBOX_INPUT)
    return b"printf " + wrapper.fed(script) + b" >" + file + b" || exit 125"


def _made(script: LaunchScript, wrapper: Wrapper, stem: bytes) -> bytes:
    said, fed = (os.fsdecode(shell_quote(stem + suffix)) for suffix in (SANDBOX_SUFFIX, SANDBOX_INPUT))
    trial = os.fsdecode(wrapper.trial(script)) or ":"
    return os.fsencode(_MADE.format(said=said, ready=READY, failed=LAUNCH_FAILED, trial=trial, fd=INPUT_FD, input=fed))


def _export(name: str, value: str) -> bytes:
    variable = os.fsencode(name)
    export = b"export " + variable + b"=" + shell_quote(value)
    if name not in _REFUSED_BY_SHELLS:
        return export
    export = b"unset -v " + variable + b" && " + export
    # A subshell tries it, because a refusal ends a shell that executes a script.
    left_out = f"[agentd] {name} cannot be set by /bin/sh, so it is left out"
    return b"if (" + export + b") 2>/dev/null; then " + export + b"; else echo " + shell_quote(left_out) + b"; fi"


_ANSWER_LOOKS = 10
"""Times that the launcher waits a second for tmux to answer; it needs milliseconds."""

# What was typed for the agent must not be executed by the shell after it. The pane is marked as ended, which keeps
# agentctl from typing into it (agentd.tmux.guard), and tmux is asked for its state (DSR, which it answers as "OK"): all
# that was typed before tmux saw the mark comes before the answer, and is thrown away with it.
_INSPECT = (
    r"""trap : INT QUIT TERM
[ -t 0 ] && (
  PATH=$PATH:/usr/bin:/bin:/run/current-system/sw/bin
  printf '\033]7;"""
    + ENDED_MARK
    + r"""%s\033\\' $$
  stty sane -icanon -echo -isig -ixon min 0 time 10 2>/dev/null || exit
  printf '\033[5n'
  unread= looks=0
  while [ $looks -lt """
    + str(_ANSWER_LOOKS)
    + r""" ]; do
    some=$(dd bs=4096 count=1 2>/dev/null)
    unread=$unread$some
    case $unread in *'"""
    + "\033[0n"
    + r"""'*) break;; esac
    case $some in '') looks=$((looks + 1));; esac
  done
  stty sane 2>/dev/null
)
printf '"""
    + _RESET_TERMINAL
    + r"""\n[agentd] %s %s. This is a shell in its workdir; it lasts until the agent is restarted or removed.\n' \
  "$1" "$2"
trap - INT QUIT TERM
if command -v bash >/dev/null 2>&1; then exec bash --norc -i; fi
exec /bin/sh -i
"""
)

_INSPECT_QUOTED = shell_quote(_INSPECT)

# What a sandbox says goes to a file, not to the terminal. The agent gets the terminal back as its standard error.
#
# An interactive shell in a sandbox cannot give the terminal back to a group outside when it ends. So there the launcher
# takes it, by job control, and has its agent go on at once where C-z would stop it: without a sandbox C-z does nothing.
_MADE = """while [ $status -gt 146 ] && [ $status -lt 151 ] && kill -0 %1 2>/dev/null; do
  fg %1 >/dev/null 2>&1
  status=$?
done
set +m
made=
while [ "$made" != {ready} ] && read -r stat; do made=$stat; done <{said}
if [ -z "$made" ]; then
  ({trial}) </dev/null >/dev/null 2>{said} {fd}<{input}
  while read -r stat; do made=$stat; done <{said}
fi
[ "$made" = {ready} ] || ended "{failed} the sandbox cannot be made: ${{made:-exit status $status}}" \\
  "could not be launched"
"""

_TOLD = rb"""printf '%s\n' @RUN@ 1<>@HINTS@"""
# The FIFO is open before agentd hears of the process: what it writes is never lost.
_HELD = rb"""{ printf '%s\n' @RUN@ 1<>@HINTS@; read -r field <&6; } 6<>@GO@ || exit 125"""

# INT, QUIT and TERM are trapped, so that the launcher outlives C-c and a SIGTERM to the process group and can record
# the status; a subshell starts with the traps' default. HUP is not: a launcher that survives its session would keep the
# agent running without a terminal. /proc/self is the process that opens it: here the subshell that becomes the agent.
#
# Where everything is about to be closed, no shell is worth its start. The launcher waits to be closed: with its end
# tmux closes the pane, and loses what of the output the transcript's writer has not taken yet.
#
# The agent's environment comes last, so that none of it (IFS, PATH, a variable of the same name) changes what the
# launcher does. The shell for inspection is a new program, never the launcher itself: so its children are known as not
# the agent's by the run's id in its environment, and whatever is a child of the launcher is the agent's.
#
# Only the agent user may read the files, whatever umask the agent is to have. The kernel says which one that is: to ask
# `umask` in a command substitution would be a fork more.
_TEMPLATE = rb"""field= mask=
if [ -r /proc/self/status ]; then
  while read -r field mask && [ "$field" != Umask: ]; do :; done </proc/self/status
fi
[ "$field" = Umask: ] || mask=$(umask)
umask 077
environment() {
  umask "$mask"
  unset -v stat status up idle field mask @UNSET@
@EXPORTS@
}
ended() {
  printf '%s\n' "$1" >@EXIT_FILE@
  printf '%s\n' @RUN@ 1<>@HINTS@
  printf '\033]@MARK@;%s\033\\' @RUN@
  while [ -e @CLOSING@ ] && [ -t 0 ]; do read -r status; done
  [ -e @CLOSING@ ] && exit 0
  environment
  exec /bin/sh -c @INSPECT@ agentd @AGENT@ "$2"
}
trap : INT QUIT TERM
@FILES@
@JOBS@
cd -- @WORKDIR@ || ended "@FAILED@ cannot enter the workdir" "could not be launched"
(
  @SIGNALS@
  if [ -r /proc/self/stat ]; then read -r stat </proc/self/stat; else stat=$(exec /bin/sh -c 'echo $PPID'); fi
  printf '%s\n' "$stat" >@PID_FILE@ || exit 125
  @REPORTED@
  @INPUT@
  environment
  exec @ARGV@
)
status=$? up=
@MADE@if [ -r /proc/uptime ]; then read -r up idle </proc/uptime; fi
ended "$status${up:+ $up}" "ended with exit status $status"
"""

# Split first and filled in after: what is filled in may itself look like a placeholder.
_PIECES, _HELD_PIECES = (tuple(_TEMPLATE.replace(b"@REPORTED@", told).split(b"@")) for told in (_TOLD, _HELD))
