"""The renderer of agents that speak the Agent Client Protocol, on a real terminal, with a real program behind it.

What shows the whole way is run with an agent of a few lines; with one by the protocol's makers, and for the cases at
the rim, when it is asked for.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from agentd.turns.adapter import Answer, TurnsError
from agentd.turns.events import Decision, Failure, Outcome
from tests.turns.acp_run import BY_LIBRARY, EITHER, SCRIPTED, AcpRun, acp_run, until

ALLOW, DENY = Answer(Decision.ALLOW), Answer(Decision.DENY)


@pytest.mark.parametrize("command", EITHER)
async def test_messages_stream_are_byte_exact_and_never_act_on_the_terminal(
    short_folder: Path, command: tuple[str, ...]
) -> None:
    async with acp_run(short_folder, command) as run:
        await run.idle()
        assert run.watch.session is not None
        await run.shows("/exit leaves")
        turn = await run.ask("think let me see\nsay I look at it\ntool ls -l\nliteral 'two  words\\n'\nusage")
        assert turn.end is not None
        assert (turn.end.outcome, turn.end.final_text) == (Outcome.COMPLETED, "two  words\n")
        assert (turn.usage.input_tokens, turn.usage.cache_read_tokens, turn.usage.cost_usd) == (10, 2, 0.25)
        for text in ("let me see", "I look at it", "ls -l", "two  words"):
            await run.shows(text)
        assert "turn_tool_started" in run.kinds
        assert "turn_tool_completed" in run.kinds

        # What it costs is told for the session so far.
        assert (await run.ask("usage")).usage.cost_usd == 0.25

        evil = "\x1b[2J\x1b]0;owned\x07\x9b31m\x1bc\u202eabc\r\x00\x7f"
        before = len(run.printed)
        turn = await run.ask(f"literal {evil!r}\nthink {evil.encode('unicode_escape').decode()}")
        assert turn.end is not None
        # No database takes NUL.
        assert turn.end.final_text == evil.replace("\x00", "\N{REPLACEMENT CHARACTER}")
        await run.shows("\\x1b[2J")
        shown = bytes(run.printed[before:])
        for sequence in (b"\x1b[2J", b"\x1b]0;", "\x9b".encode(), b"\x1bc", "\u202e".encode(), b"\x00", b"\x7f"):
            assert sequence not in shown
        assert "let me see" in run.text

        # Beside the protocol: shown, and nothing else.
        turn = await run.ask('print b"no message \\x1b[2J\\n[1]\\n"\ncomplain b"a complaint\\n"\nsay fine')
        assert turn.end is not None
        assert turn.end.final_text == "fine"
        await run.shows("no message \\x1b[2J")
        await run.shows("a complaint")

        # Files and terminals are not offered.
        turn = await run.ask("read /etc/passwd")
        assert turn.end is not None
        assert turn.end.final_text == "-32601"

        for code, failure in ((429, Failure.USAGE_LIMIT), (-32000, Failure.AUTH_ERROR), (-32603, Failure.OTHER)):
            turn = await run.ask(f"fail {code} it did not work")
            assert turn.end is not None
            assert (turn.end.outcome, turn.end.failure) == (Outcome.FAILED, failure)
            assert "it did not work" in (turn.end.error or "")
        turn = await run.ask("say half\nstop max_tokens")
        assert turn.end is not None
        assert (turn.end.outcome, turn.end.final_text) == (Outcome.FAILED, "half")


async def asked(run: AcpRun, title: str) -> None:
    """Have the agent ask for a permission."""
    await run.deliver(f"ask {title}")
    await until(lambda: run.activity == "waiting_permission")
    assert run.watch.conversation.requests[0].text == title


async def ended(run: AcpRun, turns: int) -> str | None:
    turn = await run.idle(turns)
    assert turn is not None
    assert turn.end is not None
    return turn.end.final_text


@pytest.mark.parametrize("command", EITHER)
async def test_permissions_are_answered_in_either_place_and_the_first_counts(
    short_folder: Path, command: tuple[str, ...]
) -> None:
    async with acp_run(short_folder, command) as run:
        await run.idle()
        await asked(run, "rm -rf build")
        (request,) = run.watch.conversation.requests
        assert request.choices == ("Allow for this session", "Allow", "Reject")
        with pytest.raises(TurnsError, match="answer with one of Allow for this session, Allow, Reject"):
            await run.watch.answer(None, Answer(Decision.ANSWER, "perhaps"))
        # Never for always.
        await run.watch.answer(request.id, ALLOW)
        assert await ended(run, 1) == "[once]"
        await asked(run, "rm x")
        await run.watch.answer(None, DENY)
        assert await ended(run, 2) == "[no]"
        await asked(run, "rm y")
        await run.watch.answer(None, Answer(Decision.ANSWER, "Allow for this session"))
        assert await ended(run, 3) == "[always]"

        # A message does not answer, whatever it begins with, nor does what was pasted.
        await asked(run, "rm z")
        run.type("1 more thing\r")
        run.type("\x1b[200~1\x1b[201~\r")
        await run.shows("waits: 1 more thing")
        await run.shows("waits: 1\n")
        assert run.activity == "waiting_permission"
        run.type("3\r")
        await run.idle(6)
        assert run.texts[3:] == ["[no]", None, None]

        await asked(run, "rm both")
        (request,) = run.watch.conversation.requests
        run.type("2\r")
        assert await ended(run, 7) == "[once]"
        with pytest.raises(TurnsError, match="decided already"):
            await run.watch.answer(request.id, DENY)
        # A number that comes too late is no message.
        await asked(run, "rm late")
        await run.watch.answer(None, DENY)
        run.type("2\r")
        await run.shows("it was answered already")
        assert await ended(run, 8) == "[no]"

        await asked(run, "rm never")
        await run.watch.interrupt()
        turn = await run.idle(9)
        assert turn is not None
        assert turn.end is not None
        assert turn.end.outcome is Outcome.INTERRUPTED
        decisions = [data["decision"] for kind, _, data in run.outlet.events if kind == "turn_permission_resolved"]
        assert decisions == ["allow", "deny", "allow", "deny", "allow", "deny", "expired"]


@pytest.mark.thorough
async def test_always_is_not_taken_for_an_answer_that_does_not_say_so(short_folder: Path) -> None:
    async with acp_run(short_folder, (*BY_LIBRARY, "--only-always")) as run:
        await run.idle()
        await asked(run, "rm -rf build")
        with pytest.raises(TurnsError, match="Allow for this session"):
            await run.watch.answer(None, ALLOW)
        # Nothing offered refuses: the request is cancelled.
        await run.watch.answer(None, DENY)
        assert await ended(run, 1) == "[cancelled]"


@pytest.mark.parametrize("command", EITHER)
async def test_a_person_types_interrupts_and_leaves(short_folder: Path, command: tuple[str, ...]) -> None:
    async with acp_run(short_folder, command, first="say started with") as run:
        turn = await run.idle(1)
        assert turn is not None
        assert turn.prompt == "say started with"
        run.type("say hellp\x7fo\r")
        assert await ended(run, 2) == "hello"
        # A paste keeps its lines; so does C-j.
        run.type("\x1b[200~say one\rsay  two\x1b[201~\nsay  three\r")
        assert await ended(run, 3) == "one two three"

        run.type("sleep\r")
        await until(lambda: run.activity == "working")
        run.type("say later\r")
        await run.shows("waits: say later")
        run.type("\x03")
        assert await ended(run, 5) == "later"
        outcomes = [data["outcome"] for kind, _, data in run.outlet.events if kind == "turn_ended"]
        assert outcomes == ["completed", "completed", "completed", "interrupted", "completed"]

        run.type("not sent\x03")
        await run.shows("C-c again leaves")
        run.type("\x03")
        assert await run.exit_status() == 0


@pytest.mark.thorough
async def test_it_ends_with_exit_and_with_its_terminal(short_folder: Path) -> None:
    async with acp_run(short_folder, SCRIPTED) as run:
        await run.idle()
        run.type("/exit\r")
        assert await run.exit_status() == 0
    async with acp_run(short_folder, SCRIPTED) as run:
        await run.idle()
        run.hang_up()
        assert await run.exit_status() == 0


@pytest.mark.thorough
async def test_the_agents_own_end_is_the_renderers(short_folder: Path) -> None:
    async with acp_run(short_folder, SCRIPTED) as run:
        await run.idle()
        await run.deliver("say going\ndie")
        assert await run.exit_status() == 128 + signal.SIGKILL
        turn = await run.idle(1)
        assert turn is not None
        assert turn.end is not None
        assert (turn.end.outcome, turn.end.final_text) == (Outcome.LOST, "going")
    async with acp_run(short_folder, ("sh", "-c", "echo cannot start >&2; exit 3")) as run:
        assert await run.exit_status() == 3
        await run.shows("cannot start")
        await run.shows("ended before it had opened a session")
    async with acp_run(short_folder, (str(short_folder / "nothing"),)) as run:
        assert await run.exit_status() == 127
        await run.shows("cannot be executed: No such file or directory")


@pytest.mark.thorough
async def test_another_daemon_learns_where_the_conversation_stands(short_folder: Path) -> None:
    async with acp_run(short_folder) as run:
        await run.idle()
        session = run.watch.session
        await run.deliver("say before\nask rm x\nsay  after")
        await until(lambda: run.activity == "waiting_permission")
        await run.leave()
        run.outlet.watch = None
        run.outlet.events.clear()
        await run.serve()
        await until(lambda: run.outlet.watch is not None and run.activity == "waiting_permission")
        assert run.watch.session == session
        turn = run.watch.conversation.turn
        assert turn is not None
        assert turn.prompt == "say before\nask rm x\nsay  after"
        # It ends while no daemon is there.
        await run.leave()
        run.type("2\r")
        await run.shows("rm x\n after")
        run.type("say with nobody there\r")
        await run.shows("with nobody there")
        run.outlet.watch = None
        run.outlet.events.clear()
        await run.serve()
        await until(lambda: run.outlet.watch is not None and run.kinds.count("turn_ended") == 2)
        said = [data["text"] for kind, _, data in run.outlet.events if kind == "turn_ended"]
        assert said == [" after", "with nobody there"]
        assert (await run.ask("say again")).prompt == "say again"


@pytest.mark.thorough
async def test_a_conversation_goes_on_where_the_agent_can(short_folder: Path) -> None:
    sessions = short_folder / "sessions"
    sessions.mkdir()
    command = (*BY_LIBRARY, "--sessions", str(sessions))
    (sessions / "abc").write_text("say something\n")
    async with acp_run(short_folder, command, resume="abc") as run:
        await run.idle()
        assert run.watch.session == "abc"
        await run.shows("past say something")
        # What is past is no turn.
        assert run.kinds.count("turn_started") == 0
        assert (await run.ask("say more")).prompt == "say more"
        assert (sessions / "abc").read_text() == "say something\nsay more\n"
    async with acp_run(short_folder, command, resume="gone") as run:
        await run.idle()
        assert run.watch.session not in (None, "gone")
        await run.shows("cannot be gone on with")
    async with acp_run(short_folder, resume="abc") as run:
        await run.idle()
        assert run.watch.session not in (None, "abc")
        await run.shows("cannot go on with a former conversation")


@pytest.mark.thorough
async def test_a_flood_is_told_whole_and_can_be_interrupted(short_folder: Path) -> None:
    async with acp_run(short_folder) as run:
        await run.idle()
        turn = await run.ask("flood 5000")
        assert turn.end is not None
        assert turn.end.final_text == "".join(f"{number} " for number in range(5000))
        # Pieces are gathered: agentd takes 200 hooks a second of a run.
        assert "hook_flood" not in run.text
        # A line that never ends is passed over, and what follows it is not.
        turn = await run.ask("print b'" + "y" * 200_000 + "\\n'\nsay fine")
        assert turn.end is not None
        assert turn.end.final_text == "fine"


@pytest.mark.thorough
async def test_an_agent_that_prints_garbage_is_shown_and_ended(short_folder: Path) -> None:
    garbage = "while :; do printf 'x\\033[2Jgarbage\\n[[[\\n{\"id\":1}\\n'; done"
    async with acp_run(short_folder, ("sh", "-c", garbage)) as run:
        # An answer without a result is an answer of another protocol.
        assert await run.exit_status() != 0
        await run.shows("expected version 1 of the protocol, found None")
        assert b"\x1b[2Jgarbage" not in run.printed
    async with acp_run(short_folder, ("sh", "-c", "while :; do echo garbage; done")) as run:
        await run.shows("what else it prints beside the protocol is not shown")
        run.type("/exit\r")
        assert await run.exit_status() == 0


@pytest.mark.thorough
async def test_a_terminal_of_another_size_is_laid_out_anew(short_folder: Path) -> None:
    async with acp_run(short_folder) as run:
        await run.idle()
        await run.ask("say hello")
        run.type("half a message")
        await until(lambda: run.box == "> half a message")
        run.resize(20, 60)
        await run.shows("> half a message")
        await until(lambda: run.box == "> half a message")
        run.type("\x15say again\r")
        assert await ended(run, 2) == "again"
        await run.shows("again")
