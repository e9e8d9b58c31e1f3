from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.harness.base import (
    NO_FACTS,
    CommandLineHarness,
    Forks,
    HarnessError,
    HarnessFacts,
    PromptForm,
    Request,
    StopKey,
    interrupts,
)
from agentd.launch.launcher import MAX_ARGUMENT_BYTES
from agentd.model.placement import Place
from agentd.model.spec import (
    AgentSpec,
    AgentType,
    ForkPoint,
    Mode,
    Network,
    Policy,
    RestartPolicy,
    SandboxKind,
    SandboxSpec,
)
from agentd.supervise.desired import DEFAULT_STOP_KEYS, SECRETS_PART, DesiredAgent, digest, resolve_launch
from agentd.supervise.plan import DesiredView, changed_parts

KEY = b"0123456789abcdef"
SPEC = AgentSpec("a", "echo", "a", Path("/srv/work"), prompt="do it", env={"COLOR": "blue"})
SECRETS = {"TOKEN": "token-of-the-test"}
PARTS = {"argv", "env", SECRETS_PART, "workdir", "session", "user", "sandbox", "restarted_at"}

ECHO = CommandLineHarness(
    binary="echo",
    oneshot=PromptForm(prompt=("--prompt={prompt}",), before=("run",)),
    interactive=PromptForm(prompt=("{prompt}",), stop_keys=interrupts(2)),
    model_flag="--model",
)


@dataclass(frozen=True)
class OddHarness:
    """A harness that answers as told."""

    answer: tuple[str, ...] | Exception = ()
    binary: str = "odd"
    takes_model: bool = False
    takes_command: bool = False
    facts: HarnessFacts = field(default=NO_FACTS)

    def argv(self, request: Request) -> tuple[str, ...]:
        assert request.prompt
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def stop_keys(self, request: Request) -> tuple[StopKey, ...]:
        assert request.prompt
        return (StopKey("Escape"),)


def wish(
    spec: AgentSpec = SPEC,
    *,
    prompt: str | None = None,
    input_error: str | None = None,
    secrets: Mapping[str, str] = SECRETS,
    harness: CommandLineHarness | OddHarness = ECHO,
    user: str = "agent",
    key: bytes = KEY,
) -> DesiredAgent:
    return resolve_launch(
        spec, prompt=prompt, input_error=input_error, secrets=secrets, harness=harness, user=user, key=key
    )


def differs(desired: DesiredAgent, other: DesiredAgent | None = None) -> set[str]:
    """Which parts of the launch differ from the plain one."""
    assert desired.fingerprint is not None
    return set(changed_parts((other or wish()).fingerprint, desired.fingerprint))


# -- the launch


def test_the_launch_is_what_the_harness_builds_with_the_secrets_and_then_env() -> None:
    launch = wish().launch
    assert launch is not None
    assert launch.argv == ("echo", "run", "--prompt=do it")
    assert launch.environment == {"TOKEN": "token-of-the-test", "COLOR": "blue"}


def test_env_wins_over_a_secret_of_the_same_name() -> None:
    launch = wish(replace(SPEC, env={"TOKEN": "mine"})).launch
    assert launch is not None
    assert launch.environment == {"TOKEN": "mine"}


def test_the_prompt_file_wins_over_the_prompt_even_if_it_is_empty() -> None:
    launch = wish(prompt="from the file").launch
    assert launch is not None
    assert launch.argv[-1] == "--prompt=from the file"
    empty = wish(prompt="").launch
    assert empty is not None
    assert empty.argv == ("echo",)


def test_the_harness_is_asked_with_all_that_is_declared() -> None:
    launch = wish(replace(SPEC, mode=Mode.INTERACTIVE, model="m", args=("--fast",))).launch
    assert launch is not None
    assert launch.argv == ("echo", "--model", "m", "--fast", "do it")


def test_the_stop_keys_are_those_of_the_harness_for_this_request() -> None:
    assert wish().stop_keys == interrupts(1)
    assert wish(replace(SPEC, mode=Mode.INTERACTIVE)).stop_keys == interrupts(2)


def test_what_a_renderer_of_ours_runs_stays_with_a_prompt_too() -> None:
    assert not wish().stays
    assert wish(harness=OddHarness(("odd",), facts=HarnessFacts(renderer="agentd.acp"))).stays


@pytest.mark.parametrize(
    ("more", "forks", "reason"),
    [
        ({}, Forks.NO, "echo cannot fork a conversation"),
        ({"prompt": "do it"}, Forks.ANYWHERE, "answers its prompt"),
        ({"turns": False}, Forks.ANYWHERE, "turns = false"),
        ({"type": AgentType.SANDBOXED}, Forks.SAME_FOLDER, "it is sandboxed"),
        ({}, Forks.SAME_FOLDER, None),
        ({"prompt": "do it", "mode": Mode.INTERACTIVE}, Forks.ANYWHERE, None),
    ],
)
def test_what_cannot_begin_with_a_fork_is_an_error(more: dict[str, Any], forks: Forks, reason: str | None) -> None:
    spec = replace(SPEC, **{"prompt": "", "fork_from": ForkPoint("c", "t"), **more})
    error = wish(spec, harness=replace(ECHO, facts=HarnessFacts(forks=forks))).error
    assert (error is None) if reason is None else (error is not None and reason in error and "fork_from" in error)


def test_what_a_conversation_begins_with_is_no_other_launch() -> None:
    harness = replace(ECHO, facts=HarnessFacts(forks=Forks.ANYWHERE))
    stays = replace(SPEC, prompt="")
    plain, forked = (wish(spec, harness=harness) for spec in (stays, replace(stays, fork_from=ForkPoint("c"))))
    assert plain.fingerprint == forked.fingerprint


def test_the_plan_sees_name_policy_and_fingerprint() -> None:
    policy = Policy(restart=RestartPolicy.ALWAYS)
    desired = wish(replace(SPEC, policy=policy, enabled=False))
    assert desired.view == DesiredView("a", enabled=False, policy=policy, fingerprint=desired.fingerprint)


# -- the fingerprint


def test_the_fingerprint_has_a_digest_of_every_part() -> None:
    fingerprint = wish().fingerprint
    assert fingerprint is not None
    assert set(fingerprint) == PARTS
    assert fingerprint == wish().fingerprint


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"prompt": "do that"}, {"argv"}),
        ({"mode": Mode.INTERACTIVE}, {"argv"}),
        ({"model": "m"}, {"argv"}),
        ({"args": ("--fast",)}, {"argv"}),
        ({"env": {"COLOR": "red"}}, {"env"}),
        ({"env": {}}, {"env"}),
        ({"env": {"COLOR": "blue", "SIZE": "1"}}, {"env"}),
        ({"env": {"COLOR": "blue", "TOKEN": "mine"}}, {"env", SECRETS_PART}),
        ({"workdir": Path("/srv")}, {"workdir"}),
        ({"session": "b"}, {"session"}),
        ({"restarted_at": "2026-01-31"}, {"restarted_at"}),
        ({"type": AgentType.SANDBOXED}, {"sandbox"}),
        # What is no part of a launch.
        ({"policy": Policy(timeout=5.0)}, set()),
        ({"policy": Policy(cpu=1.5)}, {"limits"}),
        ({"enabled": False}, set()),
        ({"secrets": ("TOKEN",)}, set()),
        ({"harness": "alias"}, set()),
        ({"mode": Mode.ONESHOT}, set()),
        ({"prompt_file": Path("/srv/prompt")}, set()),
        ({"sandbox": SandboxSpec(network=Network.NONE)}, set()),
        ({"place": Place(slots=2, host="h1")}, set()),
    ],
    ids=lambda value: " ".join(f"{name}={new}" for name, new in value.items()) if isinstance(value, dict) else "",
)
def test_a_change_of_the_declaration_changes_exactly_its_parts(change: dict[str, object], parts: set[str]) -> None:
    assert differs(wish(replace(SPEC, **change))) == parts  # type: ignore[arg-type]


def test_what_comes_from_elsewhere_changes_exactly_its_parts() -> None:
    assert differs(wish(user="somebody")) == {"user"}
    assert differs(wish(prompt="do that")) == {"argv"}
    assert differs(wish(prompt="do it")) == set()
    assert differs(wish(secrets={"TOKEN": "another"})) == {SECRETS_PART}
    assert differs(wish(secrets={})) == {SECRETS_PART}
    assert differs(wish(secrets={**SECRETS, "MORE": "1"})) == {SECRETS_PART}


def test_a_secret_that_env_shadows_is_no_part_of_the_launch() -> None:
    shadowing = replace(SPEC, env={"TOKEN": "mine"})
    assert differs(wish(shadowing, secrets={"TOKEN": "another"}), wish(shadowing)) == set()
    assert differs(wish(shadowing, secrets={}), wish(shadowing)) == set()


def test_what_a_sandbox_shows_counts_for_what_is_sandboxed() -> None:
    sandboxed = replace(SPEC, type=AgentType.SANDBOXED)
    lonelier = replace(sandboxed, sandbox=SandboxSpec(network=Network.NONE))
    assert differs(wish(lonelier), wish(sandboxed)) == {"network"}


def test_what_the_limits_are_is_policy_and_that_there_are_some_is_launch() -> None:
    one, other, none = (replace(SPEC, policy=policy) for policy in (Policy(cpu=1.5), Policy(memory=1 << 30), Policy()))
    assert differs(wish(one), wish(other)) == set()
    assert changed_parts(wish(none).fingerprint, wish(one).fingerprint) == ("limits",)
    # What a control group holds is taken back in place.
    assert changed_parts(wish(one).fingerprint, wish(none).fingerprint) == ()


@pytest.mark.parametrize("name", [field.name for field in fields(SandboxSpec) if field.name != "extra_packages"])
def test_what_changes_of_a_sandbox_is_named_as_the_jcard_names_it(name: str) -> None:
    sandboxed = replace(SPEC, type=AgentType.SANDBOXED)
    other: dict[str, object] = {"kind": SandboxKind.BUBBLEWRAP, "network": Network.NONE}
    changed = replace(sandboxed, sandbox=replace(sandboxed.sandbox, **{name: other.get(name, ("/x",))}))  # type: ignore[arg-type]
    assert differs(wish(changed), wish(sandboxed)) == {"sandbox" if name == "kind" else name}


def test_the_order_in_which_variables_are_given_does_not_matter() -> None:
    one = replace(SPEC, env={"A": "1", "B": "2"})
    two = replace(SPEC, env={"B": "2", "A": "1"})
    assert differs(wish(two, secrets={"X": "1", "Y": "2"}), wish(one, secrets={"Y": "2", "X": "1"})) == set()


def test_the_order_of_arguments_matters() -> None:
    assert differs(wish(replace(SPEC, args=("a", "b"))), wish(replace(SPEC, args=("b", "a")))) == {"argv"}
    assert differs(wish(replace(SPEC, args=("a b",))), wish(replace(SPEC, args=("a", "b")))) == {"argv"}


@given(st.dictionaries(st.sampled_from("ABC"), st.text()), st.dictionaries(st.sampled_from("ABC"), st.text()))
def test_env_digests_agree_exactly_if_the_variables_do(one: dict[str, str], two: dict[str, str]) -> None:
    first, second = (wish(replace(SPEC, env=env), secrets={}) for env in (one, two))
    assert ("env" in differs(first, second)) == (one != two)


def test_another_key_makes_every_digest_another() -> None:
    assert differs(wish(key=b"another")) == PARTS


@given(st.dictionaries(st.text(), st.none() | st.text() | st.lists(st.text(), max_size=3), max_size=3))
def test_a_digest_is_short_hexadecimal_and_always_the_same(value: object) -> None:
    made = digest(KEY, value)
    assert len(bytes.fromhex(made)) == 8
    assert made == digest(KEY, json.loads(json.dumps(value)))


# -- what cannot run


def test_an_unreadable_prompt_is_an_error_and_leaves_the_launch_unknown() -> None:
    desired = wish(input_error="cannot read the prompt file /p")
    assert (desired.error, desired.launch, desired.fingerprint) == ("cannot read the prompt file /p", None, None)
    assert desired.stop_keys == DEFAULT_STOP_KEYS


def test_a_harness_that_refuses_is_an_error_of_the_agent_with_its_words() -> None:
    desired = wish(harness=OddHarness(HarnessError("no flag for that")))
    assert (desired.error, desired.launch) == ("no flag for that", None)
    assert desired.stop_keys == DEFAULT_STOP_KEYS


def test_a_harness_that_breaks_is_an_error_of_its_agents_alone() -> None:
    desired = wish(harness=OddHarness(KeyError("mode")))
    assert desired.error == "the harness \"echo\" failed to build the command line: KeyError: 'mode'"
    assert desired.launch is None
    assert desired.fingerprint is not None


def test_a_harness_that_builds_nothing_is_an_error() -> None:
    desired = wish(harness=OddHarness(()))
    assert desired.error == "the harness echo built an empty command line; expected a program"
    assert desired.launch is None


@pytest.mark.parametrize("name", ["git; id", "--option", "a#b", "../x", "a^out", "a..b", "é", "x" * 64, "path:/tmp"])
def test_what_is_no_name_of_a_package_is_an_error_of_the_agent(name: str) -> None:
    sandbox = SandboxSpec(extra_packages=("ripgrep", "python3Packages.numpy", name))
    assert wish(replace(SPEC, sandbox=sandbox)).launch is not None
    desired = wish(replace(SPEC, type=AgentType.SANDBOXED, sandbox=sandbox))
    assert desired.launch is None
    assert desired.error is not None
    assert desired.error.startswith("extra_packages: expected attributes of nixpkgs, such as ripgrep, found ")


@pytest.mark.parametrize("change", [{"prompt": "a\0b"}, {"args": ("a\0b",)}, {"model": "\0"}])
def test_nul_is_an_error_that_says_where_to_look(change: dict[str, object]) -> None:
    desired = wish(replace(SPEC, **change))  # type: ignore[arg-type]
    assert desired.launch is None
    assert desired.error is not None
    assert "NUL" in desired.error


@pytest.mark.parametrize(("size", "possible"), [(MAX_ARGUMENT_BYTES, True), (MAX_ARGUMENT_BYTES + 1, False)])
def test_a_prompt_may_be_as_long_as_the_kernel_allows(size: int, possible: bool) -> None:
    desired = wish(replace(SPEC, mode=Mode.INTERACTIVE, prompt="ä" * (size // 2) + "x" * (size % 2)))
    assert (desired.launch is not None) is possible
    if not possible:
        assert desired.error is not None
        assert f"the prompt has {size} bytes" in desired.error


def test_an_oversized_argument_or_variable_is_named_without_its_value() -> None:
    long = "x" * (MAX_ARGUMENT_BYTES + 1)
    for desired, name in (
        (wish(replace(SPEC, args=(long,))), "argument 2"),
        (wish(replace(SPEC, env={"BIG": long})), "BIG"),
        (wish(secrets={"BIG_SECRET": long}), "BIG_SECRET"),
    ):
        assert desired.launch is None
        assert desired.error is not None
        assert name in desired.error
        assert "xxx" not in desired.error


def test_an_error_that_goes_away_changes_the_launch() -> None:
    broken = wish(harness=OddHarness(HarnessError("no")))
    assert "argv" in differs(wish(), broken)
    assert "argv" in differs(wish(harness=OddHarness(HarnessError("still no"))), broken)
    assert differs(wish(harness=OddHarness(HarnessError("no"))), broken) == set()


def test_what_cannot_run_is_still_told_apart_by_its_prompt() -> None:
    broken = OddHarness(HarnessError("no"))
    assert differs(wish(replace(SPEC, prompt="other"), harness=broken), wish(harness=broken)) == {"argv"}


# -- secrecy


@given(st.text(min_size=4))
def test_no_value_shows_in_what_may_be_logged_or_published(secret: str) -> None:
    spec = replace(SPEC, prompt="p", env={"E": f"<{secret}>"})
    desired = wish(spec, secrets={"S": f"<{secret}>"})
    shown = f"{desired!r} {desired.launch!r} {json.dumps(dict(desired.fingerprint or {}))} {desired.error}"
    assert f"<{secret}>" not in shown
    assert repr(f"<{secret}>") not in shown


def test_without_the_key_nobody_can_tell_a_guess() -> None:
    guesses = [digest(b"", SECRETS), digest(KEY[::-1], SECRETS)]
    fingerprint = wish().fingerprint
    assert fingerprint is not None
    assert fingerprint[SECRETS_PART] not in guesses
    assert fingerprint[SECRETS_PART] == digest(KEY, SECRETS)
