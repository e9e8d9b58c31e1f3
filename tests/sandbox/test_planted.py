"""What a sandboxed agent puts in its workdir has agentd show it nothing more: it decides no path that is followed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.conftest import Sandboxed
from tests.sandbox.test_escapes import WORK, escape, found, outcome
from tests.support.agents import jcard
from tests.support.thorough import everyday


def others_scripts(sandboxed: Sandboxed) -> Path:
    """A folder of another agent's, with a program and a secret in it."""
    scripts = sandboxed.daemon.folder / "other/scripts"
    for path in (scripts.parent, scripts):
        path.mkdir()
    for name in ("run.sh", "theirs.txt"):
        (scripts / name).write_text(f"#!/bin/sh\n# {WORK}\nexec sleep 600\n")
        (scripts / name).chmod(0o755)
    for path in (scripts.parent, scripts, *scripts.iterdir()):
        sandboxed.give(path)
    return scripts


def test_a_program_in_its_workdir_that_became_a_symlink_shows_nothing_of_others(sandboxed: Sandboxed) -> None:
    daemon = sandboxed.daemon
    scripts = others_scripts(sandboxed)
    (daemon.workdir / "tool").symlink_to(scripts / "run.sh")
    look = {"name": "look", "type": "sandboxed", "command": ["./tool"], "workdir": "work", "restart": "no"}
    other = {"name": "b", "command": ["sh", "-c", "exec sleep 600"], "workdir": "other"}
    sandboxed.start(jcard(look, other))
    daemon.wait_state("b", "running")
    # Its target is not there for it.
    assert daemon.wait_state("look", "failed")["exit_code"] in (126, 127)


def test_a_virtual_environment_in_its_workdir_shows_no_folder_that_it_names(sandboxed: Sandboxed) -> None:
    """The interpreter of a virtual environment brings its libraries along; here it stands in another agent's folder."""
    daemon = sandboxed.daemon
    scripts = others_scripts(sandboxed)
    programs = daemon.workdir / "venv/bin"
    programs.mkdir(parents=True)
    (programs.parent / "pyvenv.cfg").touch()
    tool = programs / "tool"
    tool.write_text('#!/bin/sh\nexec "$@"\n')
    tool.chmod(0o755)
    (programs / "python").symlink_to(scripts / "bin/python")
    read = [str(scripts / "theirs.txt"), str(scripts)]
    command = [str(tool), *escape(read=read)]
    sandboxed.start(
        jcard(
            {"name": "b", "command": ["sh", "-c", "exec sleep 600"], "workdir": "other"},
            {"name": "a", "type": "sandboxed", "command": command, "workdir": "work"},
        )
    )
    assert WORK not in json.dumps({path: outcome(found(daemon, daemon.workdir), f"read {path}") for path in read})


def test_a_prompt_file_in_its_workdir_that_became_a_symlink_is_not_read(sandboxed: Sandboxed) -> None:
    daemon = sandboxed.daemon
    scripts = others_scripts(sandboxed)
    script = 'printf %s "$1" >prompt.txt; exec sleep 600'
    agent = {
        "name": "a",
        "type": "sandboxed",
        "command": ["sh", "-c", script, "sh", "{prompt}"],
        "workdir": "work",
        "prompt_file": "work/task.md",
    }
    task, given = daemon.workdir / "task.md", daemon.workdir / "prompt.txt"
    (daemon.workdir / "real.md").write_text("do it")
    task.symlink_to("real.md")
    sandboxed.start(jcard(agent))
    daemon.wait_for(
        lambda: given.exists() and given.read_text() == "do it", what="a link that stays inside is followed"
    )
    task.unlink()
    task.symlink_to(scripts / "theirs.txt")
    daemon.write_jcard(jcard(agent, {**agent, "name": "late"}))
    error = daemon.wait_state("late", "failed")["error"]
    assert error is not None
    assert "task.md" in error
    assert "leads out of" in error
    assert WORK not in given.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="as root agents cannot change every folder")
def test_a_link_that_no_agent_can_have_put_is_followed(sandboxed: Sandboxed) -> None:
    """As in a jcard's folder that is an agent's workdir, too, where NixOS and Kubernetes put links."""
    daemon = sandboxed.daemon
    folder = daemon.workdir / "conf"
    folder.mkdir()
    (daemon.folder / "text.md").write_text("do it")
    (folder / "task.md").symlink_to(daemon.folder / "text.md")
    (daemon.folder / "text.md").chmod(0o644)
    for path in (daemon.workdir, folder):
        os.chown(path, 0, 0)
        path.chmod(0o755)
    command = ["sh", "-c", '[ "$1" = "do it" ] && exec sleep 600', "sh", "{prompt}"]
    agent = {
        "name": "a",
        "type": "sandboxed",
        "command": command,
        "workdir": "work",
        "prompt_file": "work/conf/task.md",
    }
    sandboxed.start(jcard(agent))
    daemon.wait_state("a", "running")


def test_an_agent_whose_workdir_is_in_anothers_sees_its_own_alone(sandboxed: Sandboxed) -> None:
    daemon = sandboxed.daemon
    scripts = others_scripts(sandboxed)
    inner = scripts.parent / "inner"
    inner.mkdir()
    sandboxed.give(inner)
    read = [str(scripts / "theirs.txt"), str(scripts.parent)]
    sandboxed.start(
        jcard(
            {"name": "b", "command": ["sh", "-c", "exec sleep 600"], "workdir": "other"},
            {"name": "a", "type": "sandboxed", "command": escape(read=read), "workdir": "other/inner"},
        )
    )
    results = found(daemon, inner)
    assert outcome(results, f"read {read[0]}").startswith("refused")
    assert outcome(results, f"read {read[1]}") == "done: ['inner']"


def test_no_process_in_it_holds_a_file_of_agentds(sandboxed: Sandboxed) -> None:
    """Through /proc a file is opened again by whoever may see the process that has it open."""
    daemon = sandboxed.daemon
    script = "ls -l /proc/[0-9]*/fd | grep -v '/[0-9]*/fd:' >open.txt; touch done; exec sleep 600"
    sandboxed.start(jcard({"name": "a", "type": "sandboxed", "command": ["sh", "-c", script], "workdir": "work"}))
    daemon.wait_for((daemon.workdir / "done").exists, what="it has looked")
    targets = [line.split(" -> ")[1] for line in (daemon.workdir / "open.txt").read_text().splitlines() if "->" in line]
    assert [target for target in targets if target.startswith("/dev/pts/")]
    of_ours = [target for target in targets if target.startswith(f"{daemon.folder}/")]
    assert not [target for target in of_ours if not target.startswith(f"{daemon.workdir}/")]


@pytest.fixture
def visible() -> Iterator[Path]:
    """A folder that sandboxes show; those of the tests are in places that they hide."""
    if not os.access("/srv", os.W_OK):
        pytest.skip("nothing may be made in a place that sandboxes show: run the tests as root")
    folder = Path(tempfile.mkdtemp(dir="/srv", prefix="agentd-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("adopted", everyday([True], [False, True]))
def test_an_agent_that_is_declared_later_is_hidden_from_what_runs(
    sandboxed: Sandboxed, visible: Path, adopted: bool
) -> None:
    daemon = sandboxed.daemon
    late = visible / "late"
    for path in (late, daemon.folder / "early"):
        path.mkdir()
        sandboxed.give(path)
    theirs = late / "theirs.txt"
    script = f"while :; do cat {theirs} >seen.part 2>&1; mv seen.part seen; sleep 0.05; done"
    boxed = {"name": "a", "type": "sandboxed", "command": ["sh", "-c", script], "workdir": "work"}
    early = {"name": "e", "command": ["sh", "-c", "exec sleep 600"], "workdir": "early"}
    seen = daemon.workdir / "seen"
    sandboxed.start(jcard(boxed, early), "--on-shutdown=keep")
    theirs.write_text("nobody's yet")
    daemon.wait_for(lambda: seen.exists() and seen.read_text() == "nobody's yet", what="it is seen")
    pid = daemon.wait_state("a", "running")["pid"]
    if adopted:
        daemon.stop()
        sandboxed.start(jcard(boxed, early), "--on-shutdown=keep")
        daemon.wait_state("a", "running")
    daemon.write_jcard(
        jcard(boxed, early, {"name": "b", "command": ["sh", "-c", "exec sleep 600"], "workdir": str(late)})
    )
    daemon.wait_state("b", "running")
    daemon.wait_for(lambda: "No such file" in seen.read_text(), what="it is hidden")
    assert daemon.wait_state("a", "running")["pid"] == pid
    assert theirs.read_text() == "nobody's yet"
