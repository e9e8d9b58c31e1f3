"""The argv of the built-in harnesses, which existing jcards rely on, and the keys that stop them."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.harness.acp import ACP, split_argv
from agentd.harness.base import Harness, HarnessError, PromptForm, Request
from agentd.harness.builtin import BUILT_IN, CLAUDE_CODE, CODEX, CUSTOM, GEMINI_CLI, OPENCODE
from agentd.model.spec import Mode

AUTO, ONESHOT, INTERACTIVE = Mode.AUTO, Mode.ONESHOT, Mode.INTERACTIVE
CODEX_EXEC = ("codex", "exec", "--skip-git-repo-check")


def case(harness: str, mode: Mode, prompt: str, *argv: str) -> object:
    return pytest.param(harness, mode, prompt, argv, id=f"{harness}-{mode}-{prompt}")


def placed_after(harness: Harness, mode: Mode, *argv: str) -> object:
    return pytest.param(harness, mode, argv, id=f"{harness.binary}-{mode}")


@pytest.mark.parametrize(
    ("harness", "mode", "prompt", "argv"),
    [
        case("claude-code", AUTO, "do it", "claude", "-p", "do it"),
        case("claude-code", ONESHOT, "do it", "claude", "-p", "do it"),
        case("claude-code", INTERACTIVE, "do it", "claude", "do it"),
        case("claude-code", AUTO, "-v it", "claude", "-p", "--", "-v it"),
        case("claude-code", ONESHOT, "-v it", "claude", "-p", "--", "-v it"),
        case("claude-code", INTERACTIVE, "-v it", "claude", "--", "-v it"),
        case("opencode", AUTO, "do it", "opencode", "--prompt", "do it"),
        case("opencode", ONESHOT, "do it", "opencode", "run", "do it"),
        case("opencode", INTERACTIVE, "do it", "opencode", "--prompt", "do it"),
        case("opencode", AUTO, "-v it", "opencode", "--prompt=-v it"),
        case("opencode", ONESHOT, "-v it", "opencode", "run", "--", "-v it"),
        case("opencode", INTERACTIVE, "-v it", "opencode", "--prompt=-v it"),
        case("gemini-cli", AUTO, "do it", "gemini", "do it"),
        case("gemini-cli", ONESHOT, "do it", "gemini", "--prompt=do it"),
        case("gemini-cli", INTERACTIVE, "do it", "gemini", "-i", "do it"),
        case("gemini-cli", AUTO, "-v it", "gemini", "--prompt-interactive=-v it"),
        case("gemini-cli", ONESHOT, "-v it", "gemini", "--prompt=-v it"),
        case("gemini-cli", INTERACTIVE, "-v it", "gemini", "--prompt-interactive=-v it"),
        case("codex", AUTO, "do it", *CODEX_EXEC, "do it"),
        case("codex", ONESHOT, "do it", *CODEX_EXEC, "do it"),
        case("codex", INTERACTIVE, "do it", "codex", "--no-daemon", "do it"),
        case("codex", AUTO, "-v it", *CODEX_EXEC, "--", "-v it"),
        case("codex", ONESHOT, "-v it", *CODEX_EXEC, "--", "-v it"),
        case("codex", INTERACTIVE, "-v it", "codex", "--no-daemon", "--", "-v it"),
        case("custom", AUTO, "do it", "agent", "do it"),
        case("custom", ONESHOT, "do it", "agent", "do it"),
        case("custom", INTERACTIVE, "do it", "agent", "do it"),
        case("custom", AUTO, "-v it", "agent", "-v it"),
    ],
)
def test_each_mode_has_its_own_command_line(harness: str, mode: Mode, prompt: str, argv: tuple[str, ...]) -> None:
    assert BUILT_IN[harness].argv(Request(prompt=prompt, mode=mode)) == argv


@pytest.mark.parametrize(
    ("harness", "mode", "prompt", "argv"),
    [
        case("claude-code", AUTO, "update", "claude", "-p", "--", "update"),
        case("claude-code", ONESHOT, "doctor", "claude", "-p", "--", "doctor"),
        case("claude-code", INTERACTIVE, "help", "claude", "--", "help"),
        case("codex", AUTO, "review", *CODEX_EXEC, "--", "review"),
        case("codex", ONESHOT, "help", *CODEX_EXEC, "--", "help"),
        case("codex", INTERACTIVE, "update", "codex", "--no-daemon", "--", "update"),
        case("gemini-cli", AUTO, "mcp", "gemini", "--prompt-interactive=mcp"),
        case("gemini-cli", ONESHOT, "extensions", "gemini", "--prompt=extensions"),
        case("gemini-cli", INTERACTIVE, "skills", "gemini", "--prompt-interactive=skills"),
        case("opencode", AUTO, "upgrade", "opencode", "--prompt=upgrade"),
        case("opencode", ONESHOT, "help", "opencode", "run", "--", "help"),
        case("opencode", INTERACTIVE, "run", "opencode", "--prompt=run"),
        case("codex", AUTO, "review\n", *CODEX_EXEC, "review\n"),
    ],
)
def test_one_word_is_passed_so_that_it_is_no_subcommand(
    harness: str, mode: Mode, prompt: str, argv: tuple[str, ...]
) -> None:
    assert BUILT_IN[harness].argv(Request(prompt=prompt, mode=mode)) == argv


@pytest.mark.parametrize("prompt", ["update", "mcp", "doctor", "plugins"])
def test_a_prompt_that_claude_would_run_as_a_subcommand_behind_dashes_too_is_refused(prompt: str) -> None:
    with pytest.raises(HarnessError, match=f'the prompt "{prompt}" is a subcommand.*add a word.*mode = "oneshot"'):
        CLAUDE_CODE.argv(Request(prompt=prompt, mode=INTERACTIVE, args=("--verbose",)))
    assert CLAUDE_CODE.argv(Request(prompt=f"{prompt} it", mode=INTERACTIVE)) == ("claude", f"{prompt} it")


@pytest.mark.parametrize(
    ("harness", "mode", "prompt", "why"),
    [
        ("codex", INTERACTIVE, "!important: mend it", 'has a shell run what begins with "!"'),
        ("codex", INTERACTIVE, "!\necho x", 'has a shell run what begins with "!"'),
        ("codex", AUTO, "-", 'takes "-" for standard input'),
        ("codex", ONESHOT, "-", 'takes "-" for standard input'),
        ("claude-code", INTERACTIVE, "exit\n", "ends at that word"),
        ("claude-code", INTERACTIVE, ":q", "ends at that word"),
    ],
)
def test_a_prompt_that_would_not_reach_the_model_in_any_form_is_refused(
    harness: str, mode: Mode, prompt: str, why: str
) -> None:
    with pytest.raises(HarnessError, match=f"would not reach the model: .*{why}; put a word in front of it"):
        BUILT_IN[harness].argv(Request(prompt=prompt, mode=mode))
    assert BUILT_IN[harness].argv(Request(prompt=f"do {prompt}", mode=mode))[-1] == f"do {prompt}"


@pytest.mark.parametrize(
    ("harness", "mode", "argv"),
    [
        placed_after(CODEX, AUTO, *CODEX_EXEC, "--flag", "--", "-p"),
        placed_after(OPENCODE, ONESHOT, "opencode", "run", "--flag", "--", "-p"),
        placed_after(CLAUDE_CODE, INTERACTIVE, "claude", "--flag", "--", "-p"),
    ],
)
def test_where_the_args_end_the_options_no_second_mark_becomes_the_prompt(
    harness: Harness, mode: Mode, argv: tuple[str, ...]
) -> None:
    assert harness.argv(Request(prompt="-p", mode=mode, args=("--flag", "--"))) == argv


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize(
    ("harness", "binary"),
    [
        ("claude-code", "claude"),
        ("opencode", "opencode"),
        ("gemini-cli", "gemini"),
        ("codex", "codex"),
        ("custom", "agent"),
    ],
)
def test_without_a_prompt_the_bare_binary_runs_whatever_the_mode(harness: str, binary: str, mode: Mode) -> None:
    assert BUILT_IN[harness].argv(Request(mode=mode)) == (binary,)


def placed(harness: Harness, mode: Mode, prompt: str, *argv: str) -> object:
    return pytest.param(harness, mode, prompt, argv, id=f"{harness.binary}-{mode}-{prompt or 'no prompt'}")


@pytest.mark.parametrize(
    ("harness", "mode", "prompt", "argv"),
    [
        placed(CLAUDE_CODE, AUTO, "p", "claude", "--model", "m", "--flag", "x", "-p", "--", "p"),
        placed(CLAUDE_CODE, AUTO, "-p", "claude", "--model", "m", "--flag", "x", "-p", "--", "-p"),
        placed(CLAUDE_CODE, INTERACTIVE, "p", "claude", "--model", "m", "--flag", "x", "--", "p"),
        placed(CLAUDE_CODE, AUTO, "", "claude", "--model", "m", "--flag", "x"),
        placed(OPENCODE, AUTO, "p", "opencode", "-m", "m", "--flag", "x", "--prompt=p"),
        placed(OPENCODE, ONESHOT, "p", "opencode", "run", "-m", "m", "--flag", "x", "--", "p"),
        placed(OPENCODE, ONESHOT, "", "opencode", "-m", "m", "--flag", "x"),
        placed(GEMINI_CLI, AUTO, "p", "gemini", "-m", "m", "--flag", "x", "--prompt-interactive=p"),
        placed(GEMINI_CLI, ONESHOT, "p", "gemini", "-m", "m", "--flag", "x", "--prompt=p"),
        placed(GEMINI_CLI, INTERACTIVE, "p", "gemini", "-m", "m", "--flag", "x", "--prompt-interactive=p"),
        placed(CODEX, AUTO, "p", *CODEX_EXEC, "-m", "m", "--flag", "x", "--", "p"),
        placed(CODEX, INTERACTIVE, "p", "codex", "--no-daemon", "-m", "m", "--flag", "x", "--", "p"),
        placed(CODEX, AUTO, "", "codex", "-m", "m", "--flag", "x"),
    ],
)
def test_model_and_args_stand_between_the_subcommand_and_the_prompt_with_its_flag(
    harness: Harness, mode: Mode, prompt: str, argv: tuple[str, ...]
) -> None:
    assert harness.argv(Request(prompt=prompt, mode=mode, model="m", args=("--flag", "x"))) == argv


@pytest.mark.parametrize(
    ("command", "args", "prompt", "argv"),
    [
        pytest.param((), ("-x",), "p", ("agent", "-x", "p"), id="the binary agent without a command"),
        pytest.param(("run", "it"), (), "p", ("run", "it", "p"), id="prompt last"),
        pytest.param(("run", "it"), ("-x",), "p", ("run", "it", "-x", "p"), id="args before the prompt"),
        pytest.param(("run", "it"), ("-x",), "", ("run", "it", "-x"), id="no prompt"),
        pytest.param(("run", "{prompt}", "it"), (), "p", ("run", "p", "it"), id="prompt in its place"),
        pytest.param(
            ("run", "--say={prompt}!"), ("-x",), "p", ("run", "--say=p!", "-x"), id="prompt within an argument"
        ),
        pytest.param(("run", "{prompt}", "{prompt}"), (), "p", ("run", "p", "p"), id="prompt in several places"),
        pytest.param(("run", "--say={prompt}"), (), "", ("run", "--say="), id="place without a prompt"),
        pytest.param(("run", "{prompt}"), (), "{prompt}", ("run", "{prompt}"), id="prompt that looks like its place"),
        pytest.param(("run",), ("{prompt}",), "p", ("run", "{prompt}", "p"), id="args have no place"),
        pytest.param(("run", "{other} {}"), (), "p", ("run", "{other} {}", "p"), id="other braces stay"),
    ],
)
def test_custom_runs_the_command_of_the_jcard(
    command: tuple[str, ...], args: tuple[str, ...], prompt: str, argv: tuple[str, ...]
) -> None:
    assert CUSTOM.argv(Request(prompt=prompt, command=command, args=args)) == argv


def test_custom_refuses_a_model() -> None:
    assert not CUSTOM.takes_model
    with pytest.raises(HarnessError, match='model = "gpt-5"'):
        CUSTOM.argv(Request(prompt="p", model="gpt-5"))


@pytest.mark.parametrize("harness", [CLAUDE_CODE, OPENCODE, GEMINI_CLI, CODEX], ids=lambda harness: harness.binary)
def test_only_custom_takes_a_command(harness: Harness) -> None:
    assert CUSTOM.takes_command
    assert not harness.takes_command
    assert harness.takes_model
    with pytest.raises(HarnessError, match="command is for the harness custom"):
        harness.argv(Request(prompt="p", command=("sh",)))


@pytest.mark.parametrize(("prompt", "dashed"), [(("-p",), None), (("{prompt}",), ("--",))], ids=["prompt", "dashed"])
def test_a_form_that_would_drop_the_prompt_is_refused(prompt: tuple[str, ...], dashed: tuple[str, ...] | None) -> None:
    with pytest.raises(HarnessError, match="in one of the last arguments, found "):
        PromptForm(prompt=prompt, dashed=dashed)


STAYING = {
    "claude-code": ("C-c", "C-c", "C-c"),
    "opencode": ("C-c", "C-c"),
    "gemini-cli": ("C-c", "C-c", "C-c"),
    "codex": ("Escape", "C-c", "C-c"),
    "acp": ("C-c", "C-c", "C-c"),
    "custom": ("C-c",),
}
"""One round of the keys that end a program that stays."""


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("prompt", ["", "p"], ids=["no prompt", "prompt"])
@pytest.mark.parametrize("name", list(BUILT_IN))
def test_one_c_c_stops_what_answers_and_exits_and_more_keys_what_stays(name: str, prompt: str, mode: Mode) -> None:
    stays = not prompt or mode is INTERACTIVE or (mode is AUTO and name in {"opencode", "gemini-cli"}) or name == "acp"
    keys = tuple(key.key for key in BUILT_IN[name].stop_keys(Request(prompt=prompt, mode=mode)))
    expected = STAYING[name] if stays else ("C-c",)
    assert keys[: len(expected)] == expected
    assert len(keys) == len(expected) * (1 if expected == ("C-c",) else 4)


@pytest.mark.parametrize("name", [name for name, keys in STAYING.items() if len(keys) > 1])
def test_the_first_stop_key_comes_at_once_the_next_within_a_second_and_a_new_round_later(name: str) -> None:
    keys = BUILT_IN[name].stop_keys(Request())
    size = len(STAYING[name])
    rounds = [keys[start : start + size] for start in range(0, len(keys), size)]
    assert keys[0].after == 0
    for one in rounds:
        assert tuple(key.key for key in one) == STAYING[name]
        assert all(0.2 <= later.after - earlier.after < 1 for earlier, later in pairwise(one))
    assert all(later[0].after - earlier[-1].after > 1 for earlier, later in pairwise(rounds))


PROGRAMS = sorted(set(BUILT_IN) - {"acp"})
"""The harnesses that need no command."""

FORMS = (CLAUDE_CODE.interactive, CODEX.oneshot, CODEX.interactive)


def is_refused(prompt: str) -> bool:
    """Whether some built-in harness has a mode in which such a prompt would not reach the model."""
    return any(
        prompt in form.commands or any(re.fullmatch(pattern, prompt, re.DOTALL) for pattern, _ in form.misread)
        for form in FORMS
    )


prompts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)
words = st.text(st.characters(codec="utf-8", exclude_characters="\0{}"))
requests = st.builds(
    Request,
    prompt=st.one_of(prompts, prompts.map(lambda text: "-" + text)),
    mode=st.sampled_from(Mode),
    args=st.lists(words, max_size=4).map(tuple),
).filter(lambda request: not is_refused(request.prompt))


@given(name=st.sampled_from(PROGRAMS), request=requests)
def test_the_prompt_is_the_last_argument_byte_for_byte(name: str, request: Request) -> None:
    last = BUILT_IN[name].argv(request)[-1]
    assert last in (request.prompt, f"--prompt={request.prompt}", f"--prompt-interactive={request.prompt}")


@given(name=st.sampled_from(PROGRAMS), request=requests)
def test_args_keep_their_order_and_their_neighbours(name: str, request: Request) -> None:
    argv = BUILT_IN[name].argv(request)
    starts = range(1, len(argv) - len(request.args))
    assert any(argv[start : start + len(request.args)] == request.args for start in starts)


@given(name=st.sampled_from(sorted(set(PROGRAMS) - {"custom"})), request=requests)
def test_a_prompt_with_a_leading_dash_is_never_read_as_an_option(name: str, request: Request) -> None:
    argv = BUILT_IN[name].argv(request)
    if argv[-1].startswith("-") and "--" not in request.args:
        assert argv[-2] == "--" or argv[-1].startswith(("--prompt=", "--prompt-interactive="))


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("prompt", ["p", "-p", ""])
@pytest.mark.parametrize("name", ["claude-code", "opencode", "gemini-cli", "codex"])
def test_a_read_only_run_has_the_harnesss_own_mode_for_it_before_everything_of_the_jcard(
    name: str, prompt: str, mode: Mode
) -> None:
    harness = BUILT_IN[name]
    protection = harness.facts.read_only
    assert protection
    request = Request(prompt=prompt, mode=mode, model="m", args=("--flag",))
    plain, protected = harness.argv(request), harness.argv(replace(request, read_only=True))
    at = next(index for index, words in enumerate(zip(plain, protected, strict=False)) if words[0] != words[1])
    assert protected == (*plain[:at], *protection, *plain[at:])
    assert plain[at:][:2] == (harness.argv(Request(model="m"))[1], "m")


@given(request=requests.filter(lambda request: request.mode is not ONESHOT), command=st.lists(words, min_size=1))
def test_acp_gives_its_renderer_the_command_and_the_first_message(request: Request, command: list[str]) -> None:
    argv = ACP.argv(replace(request, command=tuple(command)))
    assert split_argv(argv) == ((*command, *request.args), request.prompt)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (Request(), 'needs the agent\'s command line: command = \\["gemini", "--acp"\\]'),
        (Request(command=("x",), model="m"), 'remove model = "m"'),
        (Request(command=("x",), prompt="p", mode=ONESHOT), 'remove mode = "oneshot"'),
    ],
)
def test_acp_refuses_what_it_cannot_do(request_: Request, reason: str) -> None:
    assert ACP.takes_command
    with pytest.raises(HarnessError, match=reason):
        ACP.argv(request_)


def test_custom_has_no_read_only_mode() -> None:
    assert CUSTOM.argv(Request(prompt="p", read_only=True)) == CUSTOM.argv(Request(prompt="p"))


@pytest.mark.parametrize(("row", "empty"), [(" > ", True), (" * ", True), (" ! ", False), (" ✦ ", False)])
def test_geminis_box_has_another_sign_where_it_asks_nothing(row: str, empty: bool) -> None:
    box = GEMINI_CLI.facts.empty_box
    assert box is not None
    assert (re.match(box, row) is not None) is empty


@pytest.mark.parametrize(
    ("harness", "end", "unfinished"),
    [
        *((harness, "see @fi", True) for harness in (CLAUDE_CODE, CODEX, GEMINI_CLI, OPENCODE)),
        *((CODEX, "use $skill", True), (CODEX, "use $", True), (CODEX, "use $skill now", False)),
        *((CLAUDE_CODE, "use $skill", False), (CLAUDE_CODE, "a \\", True), (CODEX, "a \\", False)),
    ],
)
def test_the_ends_after_which_enter_would_complete_a_word_or_break_the_line_are_known(
    harness: Harness, end: str, unfinished: bool
) -> None:
    assert harness.facts.unfinished is not None
    assert (re.search(harness.facts.unfinished, end) is not None) is unfinished
