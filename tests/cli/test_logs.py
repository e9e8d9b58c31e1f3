"""``agentctl logs``, against the real API and transcripts as a daemon keeps them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from agentd.recording.transcripts.files import TranscriptFiles
from agentd.recording.transcripts.run_folder import RunFolder
from tests.cli.support import RUNNING, Client, MemorySource, TmuxServer
from tests.support.daemon import program
from tests.support.thorough import everyday
from tests.support.transcripts import files_in, keep
from tests.support.waiting import wait_for

AGENT = replace(RUNNING, name="Reviewer", session="rev")
ENDED = replace(AGENT, running=False, state="exited", pid=None)


@pytest.fixture
def transcripts(client: Client) -> TranscriptFiles:
    return files_in(client.folder / "state")


@pytest.fixture(autouse=True)
def agents(source: MemorySource) -> None:
    source.statuses = [AGENT, replace(RUNNING, name="idle", session="idle", state="disabled", running=False, pid=None)]


def complete(folder: RunFolder) -> None:
    """End a run as the daemon does."""
    account = folder.read()
    size = sum(part.size for part in folder.parts(account))
    folder.write(replace(account, end="2026-01-31T10:00:00.000Z", bytes=size, exit_code=3, reason="exit status 3"))


def test_logs_prints_a_run_as_a_person_reads_it_or_its_bytes(client: Client, transcripts: TranscriptFiles) -> None:
    keep(transcripts, "Reviewer", b"of the first run\r\n")
    raw = b"\x1b[31mred\x1b[0m\r\n10%\r99%\r\n" + "grün ✓\r\n".encode() + b"x" * 100 + b" end"
    keep(transcripts, "Reviewer", raw[:7], raw[7:])
    done = client("logs", "reviewer", LC_ALL="C", LANG="C")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == ["red", "99%", "grün ✓", "x" * 100 + " end"]
    assert client("logs", "reviewer", "-n", "2").out.splitlines() == ["grün ✓", "x" * 100 + " end"]
    assert client("logs", "reviewer", "-n", "0").out == ""
    for options, expected in (([], raw), (["-n", "1"], b"x" * 100 + b" end"), (["-n0"], b"")):
        command = [program("agentctl"), "logs", "reviewer", "--raw", *options]
        assert subprocess.run(command, env=client.environment, capture_output=True, check=True).stdout == expected
    for which in (["--previous"], ["--run", "1"]):
        assert client("logs", "reviewer", *which).out == "of the first run\n"


def test_json_is_one_document_of_the_run_and_its_lines(client: Client, transcripts: TranscriptFiles) -> None:
    keep(transcripts, "Reviewer", b"one\r\ntwo\r\n")
    document = client("logs", "reviewer", "--json", "-n1").document
    assert isinstance(document, dict)
    assert document.keys() == {"name", "run", "lines"}
    assert (document["name"], document["lines"]) == ("Reviewer", ["two"])
    run = document["run"]
    assert (run["run"], run["exit_code"], run["end_byte"]) == (1, 0, 10)


@pytest.mark.thorough
def test_the_last_lines_of_a_long_run_are_the_same_as_of_the_whole(
    client: Client, transcripts: TranscriptFiles
) -> None:
    keep(transcripts, "Reviewer", b"".join(b"line %d\r\n" % number for number in range(300_000)))
    assert client("logs", "reviewer", "-n", "3").out.splitlines() == [f"line {n}" for n in range(299_997, 300_000)]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["reviewer", "--run", "7"], "run 7 of Reviewer is not kept; run 1 is"),
        (["reviewer", "--previous"], "run 1 is the only one of Reviewer that is kept"),
        (["idle"], "idle has no transcript"),
        (["revewer"], "did you mean Reviewer?"),
        (["../state"], "there is no agent"),
    ],
)
def test_what_is_not_there_is_said(
    client: Client, transcripts: TranscriptFiles, arguments: list[str], reason: str
) -> None:
    keep(transcripts, "Reviewer", b"one")
    done = client("logs", *arguments)
    assert (done.status, done.out) == (1, "")
    assert reason in done.err


@pytest.mark.parametrize(
    "options", [["-f", "--json"], ["--raw", "--json"], ["--run", "x"], ["--run=1", "--previous"], ["--lines=-1"]]
)
def test_what_makes_no_sense_is_a_usage_error(client: Client, options: list[str]) -> None:
    assert client("logs", "reviewer", *options).status == 2


def test_without_a_daemon_the_files_are_named(client: Client, transcripts: TranscriptFiles) -> None:
    keep(transcripts, "Reviewer", b"one")
    done = client("logs", "Reviewer", AGENTD_API_SOCKET="gone.sock")
    assert done.status == 3
    assert str(transcripts.root / "Reviewer/runs") in done.err
    assert "gone.sock" in done.err


@contextmanager
def following(client: Client, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Run ``logs -f`` into a file."""
    path = client.folder / "followed"
    with path.open("w") as file:
        process = subprocess.Popen(
            [program("agentctl"), "logs", "reviewer", "-f", *arguments],
            env=client.environment,
            stdout=file,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        yield process, path
    finally:
        process.kill()
        process.communicate()


def wait_for_text(path: Path, text: str) -> None:
    wait_for(lambda: path.read_bytes().endswith(text.encode()), 20, what=f"{text!r} is printed", explain=path.read_text)


@pytest.mark.parametrize("raw", everyday([False], [False, True]))
def test_following_goes_on_over_parts_and_runs_until_the_agent_has_ended(
    client: Client, transcripts: TranscriptFiles, source: MemorySource, raw: bool
) -> None:
    end = "\r\n" if raw else "\n"
    first = keep(transcripts, "Reviewer", b"zero\r\none\r\n", end=None)
    with following(client, "-n1", *(["--raw"] if raw else [])) as (process, path):
        wait_for_text(path, f"one{end}")
        with (first.output / "000000").open("ab") as file:
            file.write(b"two\r\n")
        wait_for_text(path, f"two{end}")
        (first.output / "000001").write_bytes(b"three\r\n")
        wait_for_text(path, f"three{end}")
        complete(first)
        second = keep(transcripts, "Reviewer", b"four\r\n", end=None)
        wait_for_text(path, f"four{end}")
        source.statuses = [ENDED]
        complete(second)
        assert process.wait(30) == 0
        assert path.read_bytes().decode() == end.join(["one", "two", "three", "four", ""])
        assert process.stderr is not None
        said = process.stderr.read()
        assert "run 1 of Reviewer has ended; run 2 follows" in said
        assert "run 2 of Reviewer has ended: exit status 3" in said


def test_following_a_run_by_number_ends_with_it(client: Client, transcripts: TranscriptFiles) -> None:
    folder = keep(transcripts, "Reviewer", b"one\r\nhalf", end=None)
    with following(client, "--run=1") as (process, path):
        wait_for_text(path, "one\n")
        complete(folder)
        assert process.wait(30) == 0
        assert path.read_text() == "one\nhalf\n"


@pytest.mark.thorough
def test_following_prints_what_stays_of_lines_that_are_drawn_anew(client: Client, transcripts: TranscriptFiles) -> None:
    folder = keep(transcripts, "Reviewer", b"\x1b[Hworking\r\nsteady\r\n> ", end=None)
    with following(client) as (_, path):
        wait_for_text(path, "working\nsteady\n")
        with (folder.output / "000000").open("ab") as file:
            file.write(b"\x1b[H\x1b[2Kdone\x1b[3;1H> ")
        wait_for_text(path, "working\nsteady\ndone\n")


@pytest.mark.thorough
def test_interrupted_following_ends_as_by_the_signal(
    client: Client, transcripts: TranscriptFiles, operator_tmux: TmuxServer
) -> None:
    keep(transcripts, "Reviewer", b"one\r\n", end=None)
    operator_tmux.session("s", client.shell_words("logs", "reviewer", "-f"))
    operator_tmux.wait_for_text("s", "one")
    operator_tmux("send-keys", "-t", "=s:", "C-c")
    operator_tmux.wait_for_text("s", "[status 130]")


@pytest.mark.thorough
def test_a_pager_that_ends_early_is_no_error(client: Client, transcripts: TranscriptFiles) -> None:
    for options, lines in (([], 40_000), (["--raw"], 200_000)):
        keep(transcripts, "Reviewer", b"line\r\n" * lines)
        command = " ".join([program("agentctl"), "logs", "reviewer", *options, "| head -1; echo ${PIPESTATUS[0]}"])
        done = subprocess.run(["bash", "-c", command], env=client.environment, capture_output=True, check=True)
        assert done.stdout.splitlines() == [b"line", b"141"]
        assert done.stderr == b""
