from __future__ import annotations

import os
import pwd
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cli.support import Client, Finished
from tests.cli.talking import READS, daemons_client, start, wait_for_text
from tests.support import boxed_agent
from tests.support.agents import jcard, misbehaving
from tests.support.daemon import Daemon, program
from tests.support.forked import run_agentctl
from tests.support.processes import command_lines
from tests.support.thorough import everyday
from tests.support.waiting import wait_for, wait_for_file

RAW = {"grace_period": "200ms"}
"""For an agent whose terminal makes no interrupt of C-c: SIGTERM, at half of this, is what ends it."""


@pytest.fixture
def client(daemon: Daemon) -> Client:
    return daemons_client(daemon)


def piped(client: Client, text: str | bytes, *arguments: str) -> Finished:
    """Run agentctl with this on its standard input."""
    done = run_agentctl(
        [program("agentctl"), *arguments],
        env=client.environment,
        cwd=client.folder,
        timeout=30,
        given=text.encode() if isinstance(text, str) else text,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def test_a_text_reaches_the_agent_from_an_argument_a_file_and_standard_input(daemon: Daemon, client: Client) -> None:
    start(daemon, READS)
    done = client("send", "A", "it's $HOME `x` \\n; #[bold] ü ☃")
    assert (done.status, done.out, done.err) == (0, "30 characters to a: taken\n", "")
    wait_for_text(daemon, "a", "got <it's $HOME `x` \\n; #[bold] ü ☃>")
    path = daemon.folder / "text"
    path.write_text("one\n\n  two\n\n\n")
    document = client("send", "a", "--file", path, "--json").document
    assert document == {
        "name": "a",
        "session": "a",
        "outcome": "taken",
        "message": None,
        "characters": 10,
        "left_out": 0,
    }
    assert "got <one>\ngot <>\ngot <two>" in wait_for_text(daemon, "a", "<two>")
    assert piped(client, "three\r\n", "send", "a").status == 0
    wait_for_text(daemon, "a", "got <three>")
    assert piped(client, "-four", "send", "a", "-").status == 0
    wait_for_text(daemon, "a", "got <-four>")
    assert daemon.tmux("list-buffers") == ""


def test_control_characters_are_left_out_and_said(daemon: Daemon, client: Client) -> None:
    start(daemon, READS)
    done = piped(client, "re\x1b[31md\x07 \x03\x04\x9b2J\tend", "send", "a")
    assert done.status == 0
    assert done.err == "agentctl: 5 control characters were left out: U+001B, U+0007, U+0003, U+0004, …\n"
    assert "got <re[31md 2J" in wait_for_text(daemon, "a", "end>")


@pytest.mark.thorough
def test_an_operator_who_left_the_agent_in_copy_mode_does_not_lose_the_text(daemon: Daemon, client: Client) -> None:
    start(daemon, READS)
    daemon.tmux("copy-mode", "-t", "=a:0")
    assert client("send", "a", "hello").status == 0
    wait_for_text(daemon, "a", "got <hello>")


def test_the_text_is_on_no_other_command_line_and_a_large_one_arrives_whole(daemon: Daemon, client: Client) -> None:
    result = daemon.folder / "result"
    start(
        daemon,
        ["sh", "-c", f"stty -echo; echo go; head -n 20001 | cksum >{result}.part; mv {result}.part {result}; cat"],
    )
    text = "".join(f"{number:010} needle-in-the-text\n" for number in range(20000)) + "last"
    process = subprocess.Popen(
        [program("agentctl"), "send", "a"], env=client.environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert process.stdin is not None
    with process.stdin as pipe:
        pipe.write(text.encode())
    while process.poll() is None:
        assert not [line for line in command_lines() if b"needle-in-the-text" in line]
    assert process.returncode == 0
    wait_for_file(result)
    expected = subprocess.run(["cksum"], input=f"{text}\n".encode(), capture_output=True, check=True).stdout
    assert result.read_bytes() == expected


def test_what_the_agent_does_not_read_is_taken_back_and_the_shell_after_it_executes_nothing(
    daemon: Daemon, client: Client
) -> None:
    end, pwned = daemon.folder / "end", daemon.workdir / "pwned"
    start(daemon, misbehaving("--print", "go", "--wait-for", end), workdir=str(daemon.workdir))
    done = client("send", "a", "touch pwned", "--timeout", "300ms")
    assert (done.status, done.out) == (1, "")
    assert "did not read its terminal within 0.3 s: what it had not read was discarded" in done.err
    end.touch()
    daemon.wait_state("a", "exited")
    wait_for_text(daemon, "a", "This is a shell")
    daemon.type("a", "echo se''cond")
    wait_for_text(daemon, "a", "second")
    assert not pwned.exists()


@pytest.mark.thorough
def test_an_agent_that_ends_while_it_is_written_to_is_noticed_before_enter(daemon: Daemon, client: Client) -> None:
    start(daemon, ["sh", "-c", "stty -icanon -echo; echo go; head -c 1"], workdir=str(daemon.workdir))
    done = client("send", "a", "#; touch pwned")
    assert (done.status, done.out) == (1, "")
    assert "a ended or was restarted meanwhile, it is exited: nothing was entered" in done.err
    assert not (daemon.workdir / "pwned").exists()


@pytest.mark.thorough
def test_an_agent_that_reads_later_takes_it_within_the_time(daemon: Daemon, client: Client) -> None:
    begin = daemon.folder / "begin"
    start(
        daemon, misbehaving("--print", "go", "--echo"), ["sh", "-c", f"echo go; until [ -e {begin} ]; do :; done; cat"]
    )
    with ThreadPoolExecutor() as pool:
        sending = pool.submit(client, "send", "b", "hello", "--timeout", "20s")
        assert client("send", "a", "quick").status == 0, "another agent is not kept waiting"
        assert not sending.done()
        begin.touch()
        assert sending.result().status == 0


@pytest.mark.thorough
def test_two_senders_at_once_do_not_mix(daemon: Daemon, client: Client) -> None:
    start(daemon, READS)
    texts = [f"{name} 1\n{name} 2\n{name} 3" for name in ("first", "second", "third")]
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda text: client("send", "a", text, "--timeout", "20s"), texts))
    assert [each.status for each in done] == [0, 0, 0]
    wait_for(lambda: daemon.screen("a").count("3>") == 3, what="all are read")
    lines = [line for line in daemon.screen("a").splitlines() if line.startswith("got")]
    groups = {tuple(lines[index : index + 3]) for index in (0, 3, 6)}
    assert groups == {tuple(f"got <{line}>" for line in text.splitlines()) for text in texts}


@pytest.mark.thorough
def test_only_an_agent_that_runs_is_sent_to(daemon: Daemon, client: Client) -> None:
    daemon.write_jcard(
        jcard(
            {"name": "off", "enabled": False},
            {"name": "done", "command": ["true"]},
            {"name": "bad", "command": ["/no"]},
        )
    )
    daemon.start()
    daemon.wait_state("done", "exited")
    daemon.wait_state("bad", "failed")
    for command in (["send", "x"], ["keys", "Enter"], ["interrupt"]):
        for name, state in (("off", "disabled"), ("done", "exited"), ("bad", "failed")):
            done = client(command[0], name, *command[1:])
            assert (done.status, done.out) == (1, "")
            assert f"{name} is not running, it is {state}" in done.err
            assert f"agentctl status {name}" in done.err


def test_without_a_daemon_nothing_is_sent_since_a_shell_could_read_it(daemon: Daemon, client: Client) -> None:
    start(daemon, READS)
    daemon.kill()
    for command in (["send", "a", "x"], ["keys", "a", "x"], ["interrupt", "a"]):
        assert client(*command).status == 3
    daemon.start()
    assert client("send", "a", "again").status == 0


@pytest.mark.thorough
def test_no_enter_only_types(daemon: Daemon, client: Client) -> None:
    start(daemon, READS)
    assert client("send", "a", "half a ", "--no-enter").out == "7 characters to a: typed\n"
    assert client("send", "a", "line").status == 0
    wait_for_text(daemon, "a", "got <half a line>")


@pytest.mark.thorough
def test_a_line_that_the_terminal_would_cut_is_refused(daemon: Daemon, client: Client) -> None:
    start(daemon, READS)
    done = piped(client, "x" * 4096, "send", "a")
    assert done.status == 1
    assert "a line of the message has 4096 bytes, and the agent's terminal takes 4095" in done.err
    assert piped(client, "x" * 4095, "send", "a").status == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "nothing to send"), (" \n\t\n", "nothing to send"), ("\x1b", "nothing to send"), ("x" * 1048577, "1048576")],
)
def test_what_is_no_message_is_refused(client: Client, text: str, message: str) -> None:
    done = piped(client, text, "send", "a")
    assert done.status == 1
    assert message in done.err


def test_bytes_that_are_no_text_are_refused(client: Client, tmp_path: Path) -> None:
    done = piped(client, b"a\xff", "send", "a")
    assert (done.status, "byte 2" in done.err) == (1, True)
    file = tmp_path / "file"
    file.write_bytes(b"\xff")
    assert str(file) in client("send", "a", "--file", file).err
    assert client("send", "a", "--file", tmp_path / "none").status == 1
    assert client("send", "a", "x", "--file", file).status == 2


def test_keys_are_pressed_by_name_and_checked_first(daemon: Daemon, client: Client) -> None:
    start(daemon, ["sh", "-c", "stty raw -echo; echo go; exec od -An -c -w1 -v"], **RAW)
    done = client("keys", "a", "x", "enter", "C-a", "--json")
    assert done.document == {"name": "a", "session": "a", "keys": ["x", "Enter", "C-a"]}
    client("keys", "a", "--", "-", ";", "Up")
    screen = wait_for_text(daemon, "a", "A")
    assert screen.split()[1:] == ["x", "\\r", "001", "-", ";", "033", "[", "A"]
    for key, hint in (
        ("Entr", "did you mean Enter or KPEnter?"),
        ("hello", "agentctl send"),
        ("esc", "did you mean Escape?"),
    ):
        done = client("keys", "a", "x", key)
        assert done.status == 2
        assert f'there is no key "{key}"' in done.err
        assert hint in done.err


def test_interrupt_presses_the_harness_own_keys(daemon: Daemon, client: Client) -> None:
    claude = daemon.bin / "claude"
    claude.write_text("#!/bin/sh\nstty raw -echo\necho go\nexec od -An -c -w1 -v\n")
    claude.chmod(0o755)
    agents = (
        {"name": "a", "command": misbehaving("--on-int", 7, "--print", "go", "--forever")},
        {"name": "b", "harness": "claude-code", **RAW},
    )
    daemon.write_jcard(jcard(*agents))
    daemon.start()
    for name in "ab":
        wait_for_text(daemon, name, "go")
    assert client("interrupt", "a").out == "a: interrupted\n"
    assert daemon.wait_state("a", "failed")["exit_code"] == 7
    assert client("interrupt", "b", "--json").document == {
        "name": "b",
        "session": "b",
        "keys": [],
        "interrupted": True,
    }
    wait_for_text(daemon, "b", "033")


@pytest.mark.thorough
def test_with_an_input_box_taken_means_that_the_box_is_empty_again(daemon: Daemon, client: Client) -> None:
    boxed(daemon)
    assert client("send", "a", "two\nlines").out == "9 characters to a: taken\n"
    wait_for_text(daemon, "a", "taken <two|lines>")

    (daemon.workdir / "ask").touch()
    wait_for_text(daemon, "a", "Proceed?")
    done = client("send", "a", "no", "--timeout", "200ms")
    assert done.status == 1
    assert "nothing was sent: a showed no empty input box within 0.2 s" in done.err
    assert 'but "Proceed?  1. Yes": see agentctl screen a' in done.err
    (daemon.workdir / "ask").unlink()
    wait_for(lambda: "Proceed?" not in daemon.screen("a"), what="the question is gone")

    (daemon.workdir / "asleep").touch()
    done = client("send", "a", "asleep", "--timeout", "500ms")
    assert done.status == 1
    assert "sent, not confirmed: the input box of a was not empty again within 0.5 s" in done.err
    done = client("send", "a", "more", "--timeout", "200ms")
    assert "nothing was sent" in done.err, "a draft in the box is not added to"
    (daemon.workdir / "asleep").unlink()
    assert client("keys", "a", "Enter").status == 0
    wait_for_text(daemon, "a", "taken <asleep>")
    assert "no" not in daemon.screen("a").split()


@pytest.mark.parametrize("text", everyday(["a line \\"], ["look at @word", "a line \\", "see @a/b.c"]))
def test_the_end_of_a_text_does_not_change_what_enter_means(daemon: Daemon, client: Client, text: str) -> None:
    boxed(daemon)
    assert client("send", "a", text).out == f"{len(text)} characters to a: taken\n"
    wait_for_text(daemon, "a", f"taken <{text}>")
    assert client("send", "a", text, "--no-enter").status == 0
    assert f"\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT}\xa0{text}\n" in daemon.screen("a") + "\n"


@pytest.mark.thorough
def test_a_text_that_opens_something_else_was_taken(daemon: Daemon, client: Client) -> None:
    boxed(daemon)
    assert client("send", "a", "/menu", "--timeout", "500ms").out == "5 characters to a: taken\n"
    done = client("send", "a", "more", "--timeout", "200ms")
    assert "nothing was sent: a showed no empty input box" in done.err


def boxed(daemon: Daemon) -> None:
    """Run the scripted agent with the input box as ``a``."""
    boxed_agent.install(daemon.bin / "claude")
    daemon.write_jcard(jcard({"name": "a", "harness": "claude-code", "workdir": str(daemon.workdir), **RAW}))
    daemon.start()
    wait_for_text(daemon, "a", "go")


@pytest.mark.thorough
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_who_may_not_open_the_agents_terminal_sees_the_text_on_the_screen(
    daemon: Daemon, client: Client
) -> None:
    """As a member of the admin group does: the tmux socket is open to them, the agents' terminals are not."""
    start(daemon, READS, misbehaving("--print", "go", "--echo"))
    other = pwd.getpwnam("daemon")
    for path in (daemon.folder, daemon.runtime):
        path.chmod(0o755)
    for path in (daemon.tmux_socket, daemon.api_socket):
        os.chown(path, -1, other.pw_gid)
        path.chmod(0o770)
    daemon.tmux("server-access", "-a", other.pw_name)

    def as_other(*arguments: str, python: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, "-m", "agentd.cli.agentctl", *arguments],
            env={**client.environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "HOME": "/"},
            cwd="/",
            user=other.pw_uid,
            group=other.pw_gid,
            extra_groups=[],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def works(python: str) -> bool:
        try:
            return as_other("--version", python=python).returncode == 0
        except OSError:
            return False

    system = f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
    python = next(filter(works, (system, sys.executable)), None)
    if python is None:
        pytest.skip(f"the user {other.pw_name} may execute neither {system} nor {sys.executable}")
    done = as_other("send", "b", "hello there", python=python)
    assert (done.returncode, done.stdout) == (0, "11 characters to b: shown\n"), done.stderr
    wait_for_text(daemon, "b", "you said: hello there")
    done = as_other("keys", "b", "q", "u", "i", "t", "Enter", python=python)
    assert done.returncode == 0, done.stderr
    daemon.wait_state("b", "exited")
