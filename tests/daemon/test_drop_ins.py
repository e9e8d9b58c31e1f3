"""Drop-ins: files beside the jcard, each of which declares agents by itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from tests.daemon.support import another_run, known, pids, running, script, start, stay
from tests.support.agents import jcard
from tests.support.daemon import ConfigFileJson, Daemon
from tests.support.thorough import everyday

NEVER = "--interval=1h"
"""No resync comes to the help of the watching."""

ACTED_ON_SECONDS = 0.3


def text_of(*agents: dict[str, object], lease: str | None = None) -> str:
    """A drop-in's text."""
    return ("" if lease is None else f'[drop_in]\nlease = "{lease}"\n') + jcard(*agents)


HALF_BAD = text_of(stay("n"), {"name": "bad", "restart": 5})


def begin(daemon: Daemon, files: dict[str, str], *agents: dict[str, object], flags: tuple[str, ...] = (NEVER,)) -> None:
    """Write drop-ins and the jcard, start the daemon, and wait until it has taken them."""
    for name, text in files.items():
        daemon.write_drop_in(name, text)
    start(daemon, *agents, flags=flags)


def file_of(daemon: Daemon, name: str) -> ConfigFileJson | None:
    """What the daemon says of a drop-in."""
    path = str(daemon.drop_ins / name)
    return next((file for file in daemon.health()["config"]["files"] if file["path"] == path), None)


def wait_refused(daemon: Daemon, name: str) -> str:
    """Wait until the daemon has refused a drop-in as it is now, and say why."""

    def probe() -> str | None:
        file = file_of(daemon, name)
        return None if file is None else file["error"]

    return daemon.wait_for(probe, what=f"{name} is refused")


def events(daemon: Daemon, *kinds: str) -> list[tuple[str, object]]:
    """The events of these kinds, with their source."""
    found = cast("list[dict[str, object]]", daemon.get("/v1/events"))
    data = [(str(event["kind"]), cast("dict[str, object]", event["data"])) for event in found]
    return [(kind, values.get("source")) for kind, values in data if kind in kinds]


def told(daemon: Daemon, kind: str, path: Path) -> None:
    """Wait for an event of this kind about a file; the journal comes a moment later than what it tells."""
    daemon.wait_for(lambda: (kind, str(path)) in events(daemon, kind), what=f"{kind} of {path}")


def seen(daemon: Daemon, marker: str) -> None:
    """Declare one more agent in a file of its own: once it is known, the daemon has acted on all before."""
    daemon.write_drop_in(f"zz-{marker}.toml", text_of(stay(f"seen-{marker}", enabled=False)))
    known(daemon, f"seen-{marker}")


def test_every_file_declares_agents(daemon: Daemon) -> None:
    begin(daemon, {"b.toml": text_of(stay("b")), "team/c.toml": text_of(stay("c"), stay("d"))}, stay("a"))
    running(daemon, "a", "b", "c", "d")
    agents = daemon.agents()
    team = daemon.drop_ins / "team/c.toml"
    assert {name: (agent["owner"], agent["source"]) for name, agent in agents.items()} == {
        "a": (None, str(daemon.jcard)),
        "b": (None, str(daemon.drop_ins / "b.toml")),
        "c": ("team", str(team)),
        "d": ("team", str(team)),
    }
    files = daemon.health()["config"]["files"]
    assert [(Path(file["path"]).name, file["valid"], file["agents"]) for file in files] == [
        ("jcard.toml", True, 1),
        ("b.toml", True, 1),
        ("c.toml", True, 2),
    ]
    assert all(file["loaded_at"] and file["digest"] for file in files)


@pytest.mark.thorough
def test_another_folder_can_be_named(daemon: Daemon) -> None:
    daemon.drop_ins = daemon.folder / "elsewhere"
    begin(daemon, {"b.toml": text_of(stay("b"))}, flags=(NEVER, f"--config-dir={daemon.drop_ins}"))
    running(daemon, "b")
    daemon.stop()
    daemon.start(NEVER, env={"AGENTD_CONFIG_DIR": str(daemon.drop_ins)})
    running(daemon, "b")


def test_a_drop_in_needs_no_jcard(daemon: Daemon) -> None:
    daemon.write_drop_in("b.toml", text_of(stay("b")))
    daemon.start(NEVER)
    running(daemon, "b")
    assert "there is no such file" in (daemon.health()["config"]["error"] or "")


def test_drop_ins_that_come_change_and_go_touch_no_other_agent(daemon: Daemon) -> None:
    """The folder itself comes later, a subfolder after that."""
    begin(daemon, {}, stay("a"))
    first = running(daemon, "a")
    for name in ("b.toml", "team/c.toml"):
        daemon.write_drop_in(name, text_of(stay("x")))
        former = running(daemon, "x")["x"]
        daemon.write_drop_in(name, text_of(stay("x", env={"CHANGED": "1"}), stay("y")))
        another_run(daemon, "x", former)
        running(daemon, "x", "y")
        (daemon.drop_ins / name).unlink()
        daemon.wait_gone("x")
        daemon.wait_gone("y")
    shutil.rmtree(daemon.drop_ins / "team")
    seen(daemon, "end")
    assert pids(daemon)["a"] == first["a"]
    told(daemon, "drop_in_removed", daemon.drop_ins / "b.toml")


@pytest.mark.thorough
def test_a_change_is_acted_on_within_300_ms(daemon: Daemon) -> None:
    begin(daemon, {"x.toml": text_of(stay("x"))})
    running(daemon, "x")
    took = []
    for number in range(5):
        written = time.monotonic()
        daemon.write_drop_in("x.toml", text_of(stay("x"), stay(f"n{number}")))
        known(daemon, f"n{number}")
        took.append(time.monotonic() - written)
    # The best of several: how loaded the machine is says nothing about the daemon.
    assert min(took) < ACTED_ON_SECONDS, took


@pytest.mark.parametrize("broken", everyday([HALF_BAD], ["[[agents]", HALF_BAD, ""]))
def test_an_error_leaves_the_last_good_content_in_force(daemon: Daemon, broken: str) -> None:
    begin(daemon, {"x.toml": text_of(stay("x")), "y.toml": text_of(stay("y"))}, stay("a"))
    before = running(daemon, "a", "x", "y")
    (daemon.drop_ins / "x.toml").write_text(broken)
    error = wait_refused(daemon, "x.toml")
    assert error.startswith(str(daemon.drop_ins / "x.toml"))
    health = daemon.health()["config"]
    assert (health["valid"], health["error"]) == (False, error)
    daemon.write_drop_in("y.toml", text_of(stay("y"), stay("z")))
    running(daemon, "z")
    assert {name: pids(daemon)[name] for name in before} == before
    daemon.write_drop_in("x.toml", text_of(stay("x"), stay("n")))
    running(daemon, "n")
    assert daemon.health()["config"]["valid"]
    assert pids(daemon)["x"] == before["x"]


def test_a_file_that_was_never_good_declares_nothing(daemon: Daemon) -> None:
    begin(daemon, {}, stay("a"))
    daemon.write_drop_in("b.toml", text_of(stay("b")) + "[")
    wait_refused(daemon, "b.toml")
    file = file_of(daemon, "b.toml")
    assert file is not None
    assert (file["agents"], file["loaded_at"]) == (0, None)
    assert "b" not in daemon.agents()
    told(daemon, "config_rejected", daemon.drop_ins / "b.toml")


@pytest.mark.parametrize("second", everyday([stay("X")], [stay("X"), stay("z", session="x")]))
def test_a_clash_is_an_error_of_the_later_file(daemon: Daemon, second: dict[str, object]) -> None:
    begin(daemon, {"b.toml": text_of(stay("x"))})
    first = running(daemon, "x")
    daemon.write_drop_in("c.toml", text_of(second, stay("other")))
    error = wait_refused(daemon, "c.toml")
    assert str(daemon.drop_ins / "c.toml") in error
    assert f'agent "x" at {daemon.drop_ins / "b.toml"}:3:1' in error
    assert "other" not in daemon.agents()
    assert pids(daemon)["x"] == first["x"]
    # Once the first file gives it up, the second has it.
    (daemon.drop_ins / "b.toml").unlink()
    running(daemon, str(second["name"]), "other")


@pytest.mark.thorough
def test_an_agent_moves_to_another_file_without_a_restart(daemon: Daemon) -> None:
    """The workdir is given: else a relative one would be another."""
    begin(daemon, {"b.toml": text_of(stay("x", workdir=str(daemon.workdir)))})
    first = running(daemon, "x")
    (daemon.drop_ins / "team").mkdir()
    (daemon.drop_ins / "b.toml").rename(daemon.drop_ins / "team/c.toml")
    daemon.wait_for(lambda: daemon.agents()["x"]["owner"] == "team")
    assert pids(daemon) == first


def test_relative_paths_start_at_the_folder_of_the_file(daemon: Daemon) -> None:
    folder = daemon.drop_ins / "team"
    (folder / "here").mkdir(parents=True)
    (folder / "prompt.md").write_text("say hello")
    command = ["sh", "-c", 'pwd >out; echo "$1" >>out; exec sleep 600', "sh", "{prompt}"]
    agent: dict[str, object] = {
        "name": "x",
        "command": command,
        "workdir": "here",
        "prompt_file": "prompt.md",
        "grace_period": "20s",
    }
    begin(daemon, {"team/x.toml": text_of(agent)})
    out = folder / "here/out"
    daemon.wait_for(lambda: out.exists() and out.read_text() == f"{folder / 'here'}\nsay hello\n")
    # A prompt file of a drop-in is followed as well.
    (folder / "prompt.md").write_text("say goodbye")
    daemon.wait_for(lambda: out.read_text().endswith("say goodbye\n"))


def test_what_is_hidden_or_ends_otherwise_is_not_looked_at(daemon: Daemon) -> None:
    names = (".b.toml", "b.toml.bak", "b.json", ".hidden/b.toml", "deep/er/b.toml")
    begin(daemon, {name: text_of(stay("b")) for name in names})
    seen(daemon, "end")
    assert set(daemon.agents()) == {"seen-end"}
    assert len(daemon.health()["config"]["files"]) == 2


def moved_away(folder: Path) -> Callable[[], object]:
    """Move a folder away; the answer moves it back."""
    away = folder.with_name(f".{folder.name}.away")
    folder.rename(away)
    return lambda: away.rename(folder)


def closed(folder: Path) -> Callable[[], object]:
    """Make a folder unreadable; the answer opens it."""
    folder.chmod(0)
    return lambda: folder.chmod(0o755)


HIDE = [
    moved_away,
    pytest.param(closed, marks=pytest.mark.skipif(os.geteuid() == 0, reason="root may list any folder")),
]


@pytest.mark.parametrize("hide", HIDE)
def test_a_folder_that_is_missing_or_unreadable_changes_nothing(
    daemon: Daemon, hide: Callable[[Path], Callable[[], object]]
) -> None:
    begin(daemon, {"team/b.toml": text_of(stay("b"))}, stay("a"), flags=("--interval=200ms",))
    before = running(daemon, "a", "b")
    show = hide(daemon.drop_ins)
    daemon.wait_for(lambda: any(str(daemon.drop_ins) in text for text in daemon.health()["config"]["warnings"]))
    daemon.write_jcard(jcard(stay("a"), stay("c")))
    running(daemon, "c")
    assert {name: pids(daemon)[name] for name in before} == before
    show()
    daemon.wait_for(lambda: not daemon.health()["config"]["warnings"])
    (daemon.drop_ins / "team/b.toml").unlink()
    daemon.wait_gone("b")


@pytest.mark.thorough
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_an_unmounted_folder_changes_nothing(daemon: Daemon) -> None:
    def mounted(*words: str) -> None:
        subprocess.run([*words, str(daemon.drop_ins)], check=True)

    daemon.drop_ins.mkdir()
    mounted("mount", "-t", "tmpfs", "drop-ins")
    try:
        begin(daemon, {"b.toml": text_of(stay("b"))}, flags=("--interval=200ms", "--on-shutdown=keep"))
        before = running(daemon, "b")
        mounted("umount", "--lazy")
        daemon.wait_for(lambda: "not" not in daemon.health()["state"] and daemon.health()["config"]["warnings"])
        daemon.stop()
        daemon.start("--interval=200ms")
        daemon.wait_for(lambda: daemon.health()["config"]["warnings"])
        assert pids(daemon) == before
        mounted("mount", "-t", "tmpfs", "drop-ins")
        daemon.write_drop_in("c.toml", text_of(stay("c")))
        running(daemon, "c")
        daemon.wait_gone("b")
    finally:
        subprocess.run(["umount", "--lazy", str(daemon.drop_ins)], check=False)


def test_a_half_written_or_empty_file_stops_nothing(daemon: Daemon) -> None:
    """Written in place, in two parts."""
    begin(daemon, {"b.toml": text_of(stay("b"), stay("c"))})
    before = running(daemon, "b", "c")
    path = daemon.drop_ins / "b.toml"
    whole = text_of(stay("b"), stay("c"), stay("d"))
    with path.open("w") as file:
        wait_refused(daemon, "b.toml")
        file.write(whole[: len(whole) // 2])
        file.flush()
        seen(daemon, "half")
        assert {name: pids(daemon)[name] for name in before} == before
        file.write(whole[len(whole) // 2 :])
    running(daemon, "d")
    assert {name: pids(daemon)[name] for name in before} == before


@pytest.mark.thorough
def test_a_removal_that_does_not_stand_stops_nothing(daemon: Daemon) -> None:
    """As of an editor that removes the file before it writes it again."""
    begin(daemon, {"b.toml": text_of(stay("b"))})
    before = running(daemon, "b")
    path = daemon.drop_ins / "b.toml"
    for number in range(20):
        away = path.rename(daemon.drop_ins / "b.away")
        away.rename(path)
        if number % 5 == 0:
            seen(daemon, str(number))
    assert pids(daemon)["b"] == before["b"]
    assert "stopping" not in [kind for kind, _ in events(daemon, "stopping")]


@pytest.mark.thorough
def test_a_file_that_is_always_written_holds_up_no_other(daemon: Daemon) -> None:
    begin(daemon, {"b.toml": text_of(stay("b"))})
    running(daemon, "b")
    busy = daemon.drop_ins / "busy.toml"
    writer = subprocess.Popen(["sh", "-c", 'while :; do echo "# $((i=i+1))" >>"$0"; sleep 0.003; done', str(busy)])
    try:
        daemon.wait_for(busy.exists)
        daemon.write_drop_in("c.toml", text_of(stay("c")))
        running(daemon, "c")
        (daemon.drop_ins / "b.toml").unlink()
        daemon.wait_gone("b")
    finally:
        writer.kill()
        writer.wait()


class TestLease:
    def test_an_unrenewed_drop_in_counts_as_removed(self, daemon: Daemon) -> None:
        begin(daemon, {"b.toml": text_of(stay("b"), lease="500ms"), "c.toml": text_of(stay("c"))}, stay("a"))
        before = running(daemon, "a", "c")
        daemon.wait_gone("b")
        path = daemon.drop_ins / "b.toml"
        told(daemon, "lease_expired", path)
        file = file_of(daemon, "b.toml")
        assert file is not None
        assert (file["valid"], file["agents"]) == (True, 0)
        assert "its lease of 500ms is over" in file["warnings"][0]
        path.touch()
        running(daemon, "b")
        assert {name: pids(daemon)[name] for name in before} == before

    @pytest.mark.thorough
    def test_a_renewed_drop_in_counts(self, daemon: Daemon) -> None:
        begin(daemon, {"b.toml": text_of(stay("b"), lease="3s")})
        before = running(daemon, "b")
        renewed_until = time.monotonic() + 3.3  # a stalled machine renews late
        while time.monotonic() < renewed_until:
            (daemon.drop_ins / "b.toml").touch()
            seen(daemon, str(time.monotonic_ns()))
        assert pids(daemon)["b"] == before["b"]
        assert events(daemon, "lease_expired") == []
        daemon.wait_gone("b")

    @pytest.mark.thorough
    def test_an_invalid_renewal_is_one(self, daemon: Daemon) -> None:
        begin(daemon, {"b.toml": text_of(stay("b"), lease="3s")})
        before = running(daemon, "b")
        renewed_until = time.monotonic() + 3.3  # a stalled machine renews late
        while time.monotonic() < renewed_until:
            (daemon.drop_ins / "b.toml").write_text(f"[ {time.monotonic_ns()}")
            seen(daemon, str(time.monotonic_ns()))
        assert pids(daemon)["b"] == before["b"]
        daemon.wait_gone("b")

    @pytest.mark.thorough
    def test_the_lease_of_an_unreachable_folder_goes_on(self, daemon: Daemon) -> None:
        """Nobody can renew what agentd does not see: its declarer may be lost, too."""
        begin(daemon, {"b.toml": text_of(stay("b"), lease="1s"), "c.toml": text_of(stay("c"))})
        before = running(daemon, "b", "c")
        moved_away(daemon.drop_ins)
        daemon.wait_gone("b")
        assert pids(daemon) == {"c": before["c"]}

    @pytest.mark.thorough
    def test_a_restart_of_agentd_begins_the_lease_anew(self, daemon: Daemon) -> None:
        flags = (NEVER, "--on-shutdown=keep")
        begin(daemon, {"b.toml": text_of(stay("b"), lease="1500ms")}, flags=flags)
        before = running(daemon, "b")
        daemon.stop()
        old = time.time() - 60
        os.utime(daemon.drop_ins / "b.toml", (old, old))
        daemon.start(NEVER)
        known(daemon, "b")
        assert pids(daemon) == before
        daemon.wait_gone("b")


class TestAcrossARestart:
    """Of agentd, killed: its agents live on."""

    def test_agents_of_drop_ins_are_adopted(self, daemon: Daemon) -> None:
        begin(daemon, {"team/b.toml": text_of(stay("b"))}, stay("a"))
        before = running(daemon, "a", "b")
        daemon.kill()
        daemon.start(NEVER)
        running(daemon, "a", "b")
        daemon.wait_for(lambda: daemon.health()["config"]["valid"])
        assert pids(daemon) == before
        assert daemon.agents()["b"]["owner"] == "team"

    @pytest.mark.thorough
    def test_a_drop_in_removed_meanwhile_has_its_agents_stopped(self, daemon: Daemon) -> None:
        begin(daemon, {"b.toml": text_of(stay("b")), "team/c.toml": text_of(stay("c")), "d.toml": text_of(stay("d"))})
        before = running(daemon, "b", "c", "d")
        daemon.kill()
        (daemon.drop_ins / "b.toml").unlink()
        shutil.rmtree(daemon.drop_ins / "team")
        daemon.start(NEVER)
        daemon.wait_gone("b")
        daemon.wait_gone("c")
        assert pids(daemon) == {"d": before["d"]}

    @pytest.mark.parametrize("broken", everyday(["["], ["[", ""]))
    def test_a_drop_in_that_is_invalid_at_the_start_leaves_its_agents(self, daemon: Daemon, broken: str) -> None:
        files = {"b.toml": text_of(stay("b"), stay("gone")), "c.toml": text_of(stay("c"))}
        begin(daemon, files, stay("a"))
        before = running(daemon, "a", "b", "c")
        daemon.kill()
        path = daemon.drop_ins / "b.toml"
        path.write_text(broken)
        daemon.start(NEVER)
        wait_refused(daemon, "b.toml")
        (daemon.drop_ins / "c.toml").unlink()
        daemon.wait_gone("c")
        assert {name: pids(daemon)[name] for name in ("a", "b")} == {name: before[name] for name in ("a", "b")}
        assert daemon.agents()["b"]["source"] == str(path)
        assert '"agents": ["b", "gone"]' in daemon.log_text()
        # Once it is good again, what it declares counts.
        daemon.write_drop_in("b.toml", text_of(stay("b")))
        daemon.wait_gone("gone")
        assert pids(daemon)["b"] == before["b"]

    @pytest.mark.thorough
    def test_an_invalid_jcard_at_the_start_leaves_only_its_own_agents(self, daemon: Daemon) -> None:
        begin(daemon, {"b.toml": text_of(stay("b")), "c.toml": text_of(stay("c"))}, stay("a"))
        before = running(daemon, "a", "b", "c")
        daemon.kill()
        daemon.jcard.write_text("[")
        (daemon.drop_ins / "c.toml").unlink()
        daemon.start(NEVER)
        daemon.wait_gone("c")
        assert pids(daemon) == {name: before[name] for name in ("a", "b")}
        daemon.write_jcard(jcard(stay("n")))
        daemon.wait_gone("a")

    @pytest.mark.thorough
    def test_a_renamed_drop_in_is_known_by_its_new_name(self, daemon: Daemon) -> None:
        begin(daemon, {"b.toml": text_of(stay("b"))})
        before = running(daemon, "b")
        path = (daemon.drop_ins / "b.toml").rename(daemon.drop_ins / "c.toml")
        daemon.wait_for(lambda: daemon.agents()["b"]["source"] == str(path))
        seen(daemon, "end")
        daemon.kill()
        path.write_text("[")
        daemon.start(NEVER)
        wait_refused(daemon, "c.toml")
        assert pids(daemon)["b"] == before["b"]

    @pytest.mark.thorough
    def test_a_folder_that_is_gone_at_the_start_leaves_its_agents(self, daemon: Daemon) -> None:
        begin(daemon, {"b.toml": text_of(stay("b"))}, stay("a"), flags=("--interval=200ms",))
        before = running(daemon, "a", "b")
        seen(daemon, "end")
        daemon.kill()
        back = moved_away(daemon.drop_ins)
        daemon.start("--interval=200ms")
        daemon.wait_for(lambda: daemon.health()["config"]["warnings"])
        assert {name: pids(daemon)[name] for name in before} == before
        back()
        daemon.wait_for(lambda: not daemon.health()["config"]["warnings"])
        (daemon.drop_ins / "b.toml").unlink()
        daemon.wait_gone("b")


@pytest.mark.thorough
def test_a_symlinked_drop_in_is_followed_where_it_leads(daemon: Daemon) -> None:
    real = daemon.folder / "real"
    real.mkdir()
    (real / "x.toml").write_text(text_of(stay("x")))
    daemon.drop_ins.mkdir()
    (daemon.drop_ins / "x.toml").symlink_to(real / "x.toml")
    begin(daemon, {})
    before = running(daemon, "x")
    (real / "x.toml").write_text(text_of(stay("x"), stay("y")))
    running(daemon, "y")
    # A link that leads nowhere is no removal.
    (real / "x.toml").rename(real / "away")
    wait_refused(daemon, "x.toml")
    assert pids(daemon)["x"] == before["x"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only as root are files of others refused")
def test_as_root_a_file_that_others_may_write_is_refused(daemon: Daemon) -> None:
    begin(daemon, {"b.toml": text_of(stay("b"))})
    before = running(daemon, "b")
    path = daemon.write_drop_in("c.toml", text_of(stay("c")))
    os.chown(path, 1, 1)
    assert "refused, since agentd runs as root: it is owned by user daemon" in wait_refused(daemon, "c.toml")
    (daemon.drop_ins / "b.toml").chmod(0o666)
    assert "may be written by everybody" in wait_refused(daemon, "b.toml")
    assert pids(daemon)["b"] == before["b"]
    (daemon.drop_ins / "b.toml").chmod(0o600)
    daemon.wait_for(lambda: all(file["valid"] for file in daemon.health()["config"]["files"][:2]))


def test_the_plan_and_the_events_name_the_file(daemon: Daemon) -> None:
    path = str(daemon.drop_ins / "b.toml")
    begin(daemon, {"b.toml": text_of(script("b", "trap '' INT; while :; do sleep 1; done", grace_period="1s"))})
    running(daemon, "b")
    told(daemon, "config_loaded", Path(path))
    told(daemon, "declared", Path(path))
    (daemon.drop_ins / "b.toml").unlink()
    operations = daemon.wait_for(lambda: cast("dict[str, list[dict[str, str]]]", daemon.get("/v1/plan"))["operations"])
    assert [(each["action"], each["agent"], each["source"]) for each in operations] == [("stop", "b", path)]
    daemon.wait_gone("b")
    told(daemon, "removed", Path(path))


@pytest.mark.thorough
def test_metrics_say_that_a_drop_in_is_invalid(daemon: Daemon) -> None:
    begin(daemon, {})
    assert "agentd_config_valid 1" in daemon.request("GET", "/metrics").body.decode()
    daemon.write_drop_in("b.toml", "[")
    wait_refused(daemon, "b.toml")
    assert "agentd_config_valid 0" in daemon.request("GET", "/metrics").body.decode()


@pytest.mark.thorough
def test_a_secret_still_reaches_agents_of_drop_ins(daemon: Daemon) -> None:
    daemon.write_secret("TOKEN", "t0ken")
    begin(daemon, {"b.toml": text_of(script("b", 'echo "$TOKEN" >out; exec sleep 600', workdir=str(daemon.workdir)))})
    daemon.wait_for(lambda: (daemon.workdir / "out").exists() and (daemon.workdir / "out").read_text() == "t0ken\n")
    assert "t0ken" not in json.dumps(daemon.get("/v1/agents"))


def test_a_drop_in_of_another_boot_declares_nothing(daemon: Daemon) -> None:
    """What ran before a reboot may run on another host by now: whoever declared it has to do so anew."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    text = f'[drop_in]\nlease = "1h"\nboot = "{boot}"\n{jcard(stay("b"))}'
    begin(daemon, {"b.toml": text.replace(boot, "another"), "c.toml": text.replace('"b"', '"c"')})
    running(daemon, "c")
    assert "b" not in daemon.agents()
    [file] = [file for file in daemon.health()["config"]["files"] if file["path"].endswith("b.toml")]
    assert "of another boot" in file["warnings"][0]
    daemon.write_drop_in("b.toml", text)
    running(daemon, "b")
