"""What runsc is given: a bundle with what bubblewrap would mount, and no secret where others can read it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from agentd.launch.launcher import LaunchScript
from agentd.model.user import AgentUser
from agentd.sandbox.compose import Composed
from agentd.sandbox.gvisor import GVisor, Tools, version_of
from agentd.sandbox.pinned import Pinned
from agentd.sandbox.rules import Access, Rule, Sandbox
from agentd.sandbox.support import Support
from tests.sandbox.conftest import Sandboxed
from tests.support.agents import jcard
from tests.support.thorough import everyday

WORK, RUN = Path("/srv/work"), Path("/run/agentd/t.runs")
USER = AgentUser("ada", 1001, 1002, (), Path("/home/ada"), "/bin/sh", switch=False)
TOOLS = Tools("/usr/bin/runsc", "/usr/bin/unshare", "/usr/bin:/bin", RUN, None, USER)
TOP = (Path("/srv"), Path("/usr"))
SUPPORT = Support("env", "stat", "head", "timeout", (Path("/tmp"),), (), TOP, (("/bin", "usr/bin"),))
PROMPT = 'é "quoted"\n$(touch x) \\u0000 \'\t'


def gvisor(*rules: Rule, network: bool = True, pinned: Mapping[str, str] | None = None) -> GVisor:
    """A sandbox of these rules."""
    composed = Composed(Sandbox(rules, WORK, network), Pinned(tuple((pinned or {}).items()), "stat"), 512)
    return GVisor(TOOLS, SUPPORT, composed)


def script(**environment: str) -> LaunchScript:
    """The run of an agent."""
    return LaunchScript("a", "run-1", ("claude", "-p", PROMPT), environment, str(WORK), open_files=1024)


def configuration(sandbox: GVisor, run: LaunchScript) -> dict[str, object]:
    """What is printed where TERM and the umask are known."""
    shell = b"TERM=screen mask=0027; printf " + sandbox.fed(run)
    return cast(
        "dict[str, object]", json.loads(subprocess.run(["sh", "-c", shell], capture_output=True, check=True).stdout)
    )


def mounts(*rules: Rule, pinned: Mapping[str, str] | None = None) -> list[str]:
    """Each mount on one line."""
    found = cast("list[dict[str, object]]", configuration(gvisor(*rules, pinned=pinned), script())["mounts"])
    return [
        f"{each['destination']} {each['type']} {each['source']} {','.join(cast('list[str]', each.get('options', [])))}"
        for each in found
    ]


def test_the_agent_gets_its_environment_and_its_words_byte_for_byte() -> None:
    process = cast("dict[str, object]", configuration(gvisor(), script(A="1", NAME=PROMPT))["process"])
    assert process["env"] == ["TERM=screen", "A=1", f"NAME={PROMPT}"]
    assert cast("list[str]", process["args"])[3:] == ["agentd", "claude", "-p", PROMPT]
    assert process["user"] == {"uid": 0, "gid": 0, "umask": 0o027}
    assert (process["terminal"], process["cwd"], process["noNewPrivileges"]) == (True, str(WORK), True)
    assert set(map(str, cast("dict[str, object]", process["capabilities"]).values())) == {"[]"}
    assert process["rlimits"] == [
        {"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1 << 20},
        {"type": "RLIMIT_NPROC", "soft": 512, "hard": 512},
    ]


def test_a_terminal_that_the_agent_is_to_have_wins() -> None:
    process = cast("dict[str, object]", configuration(gvisor(), script(TERM='d"umb'))["process"])
    assert process["env"] == ['TERM=d"umb']


@pytest.mark.parametrize(("text", "reason"), [("\udcff", "UTF-8"), ("a\0b", "NUL")])
def test_what_json_cannot_carry_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        gvisor().fed(script(A=text))


def test_no_secret_and_no_prompt_is_on_the_command_line() -> None:
    command = gvisor().command(script(TOKEN="s3cret"))
    assert b"s3cret" not in command
    assert b"quoted" not in command


def test_the_mounts_are_those_of_bubblewrap() -> None:
    assert mounts(
        Rule(Path("/proc"), Access.PROCESSES),
        Rule(Path("/dev"), Access.DEVICES),
        Rule(Path("/tmp"), Access.EMPTY),
        Rule(Path("/home/ada"), Access.WRITE, Path("/data/homes/a")),
        Rule(Path("/tmp/bin"), Access.LINK, Path("/usr/bin")),
        Rule(WORK, Access.WRITE),
        Rule(WORK / "conf/jcard.toml", Access.HIDDEN_FILE),
        Rule(WORK / ".git", Access.READ),
        Rule(WORK / "secrets", Access.HIDDEN),
        pinned={str(WORK): "1:2"},
    ) == [
        "/proc proc proc ",
        "/srv bind /srv rbind,ro",
        "/tmp tmpfs tmpfs mode=0755",
        "/usr bind /usr rbind,ro",
        "/home/ada bind /data/homes/a rbind,rw",
        f"/srv/work bind {RUN}/0 rbind,rw",
        f"/srv/work/.git bind {RUN}/0/.git rbind,ro",
        f"/srv/work/conf bind {RUN}/0/conf rbind,rw",
        "/srv/work/secrets tmpfs tmpfs mode=0555,ro",
        f"/srv/work/conf/jcard.toml bind {RUN}/empty rbind,ro",
    ]


@pytest.mark.parametrize(("network", "option"), [(True, b"'--network=host'"), (False, b"'--network=none'")])
def test_the_network_is_the_hosts_or_none(network: bool, option: bytes) -> None:
    assert option in gvisor(network=network).command(script())


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("runsc version 0.0~20221219.0\nspec: 1.0.2-dev\n", "20221219"),
        ("runsc version release-20240729.0\nspec: 1.1.0-rc.1\n", "20240729"),
        ("runsc version 20231113.0\n", "20231113"),
        ("runsc version VERSION_MISSING\n", None),
    ],
)
def test_a_release_is_known_by_its_day(said: str, version: str | None) -> None:
    assert version_of(said) == version


STAND_IN = """#!/bin/sh
[ "$1" != --version ] || { echo 'runsc version 0.0~20240729.0'; exit; }
work=%s
printf '%%s\\n' "$@" >$work/argv
while [ $# -gt 0 ]; do
  case $1 in
    --pass-fd) said=${2%%%%:*};;
    --bundle) ls -ld "$2" "$2/config.json" >$work/listed; cat "$2/config.json" >$work/config.json;;
    --root) touch "$2/state";;
  esac
  shift
done
[ -t 0 ] && [ -t 1 ] && [ -t 2 ] || exit 9
eval "echo ready >&$said"
exit 7
"""


@pytest.mark.parametrize("flags", everyday([False], [False, True]), ids=["defaults", "the Go agentd's flags"])
def test_runsc_is_run_in_the_pane_and_nobody_outside_sees_its_bundle(sandboxed: Sandboxed, flags: bool) -> None:
    """By a stand-in, which is no sandbox."""
    daemon = sandboxed.daemon
    daemon.write_secret("TOKEN", "s3cret")
    program = daemon.bin / "runsc"
    program.write_text(STAND_IN % daemon.workdir)
    program.chmod(0o755)
    bundles, states = daemon.folder / "bundles", daemon.folder / "states"
    given = (f"-sandbox-bundle-dir={bundles}", "-sandbox-state-dir", str(states), "-runsc-path", str(program))
    agent = {"name": "a", "type": "sandboxed", "sandbox": "gvisor", "command": ["true"], "workdir": "work"}
    sandboxed.start(jcard(agent), *(given if flags else ()))
    ended = daemon.wait_state("a", "failed")
    assert (ended["exit_code"], ended["error"]) == (7, "exit status 7")
    argv = (daemon.workdir / "argv").read_text().splitlines()
    runs = Path(f"{daemon.tmux_socket}.runs")
    bundle, state = (bundles, states) if flags else (runs, runs / "state")
    assert argv[argv.index("--bundle") + 1] == str(bundle)
    assert argv[argv.index("--root") + 1] == str(state)
    assert "s3cret" not in "".join(argv)
    config = json.loads((daemon.workdir / "config.json").read_text())
    assert "TOKEN=s3cret" in config["process"]["env"]
    assert any(each["destination"] == str(daemon.workdir) for each in config["mounts"])
    folder, file = (daemon.workdir / "listed").read_text().splitlines()
    assert folder.startswith("drwx------")
    assert file.startswith("-rw-------")
    for place in (bundle, state):
        assert not [*place.glob("config.json"), *place.glob("state")]
    if flags:
        assert not [*bundles.iterdir(), *states.iterdir()]


@pytest.mark.gvisor
def test_umask_user_and_terminal_are_the_agents(sandboxed: Sandboxed) -> None:
    daemon = sandboxed.daemon
    command = ["sh", "-c", "echo $(umask) $(id -u) $(id -g) $TERM $(ulimit -n) >part; mv part said; exec sleep 600"]
    fields = {"command": command, "workdir": "work"}
    sandboxed.start(jcard({"name": "a", "type": "sandboxed", "sandbox": "gvisor", **fields}, {"name": "b", **fields}))
    said = daemon.workdir / "said"
    found = []
    for _ in range(2):
        found.append(daemon.wait_for(lambda: said.exists() and said.read_text().split(), what="it has said"))
        said.unlink()
    assert found[0] == found[1]
    assert found[0][1] == str(os.geteuid() if sandboxed.user is None else sandboxed.user.pw_uid)


def test_what_runsc_says_went_wrong_is_the_launchs_failure(sandboxed: Sandboxed) -> None:
    daemon = sandboxed.daemon
    said = '{"msg":"running container: x is not there","level":"error","time":"2026-11-29T14:20:27.9Z"}'
    program = daemon.bin / "runsc"
    program.write_text(
        "#!/bin/sh\n[ \"$1\" != --version ] || { echo 'runsc version 0.0~20240729.0'; exit; }\n"
        f"while [ $1 != --log-fd ]; do shift; done\nprintf '%s' '{said}' >>/proc/self/fd/$2\nexit 128\n"
    )
    program.chmod(0o755)
    sandboxed.start(
        jcard({"name": "a", "type": "sandboxed", "sandbox": "gvisor", "command": ["true"], "workdir": "work"})
    )
    error = daemon.wait_state("a", "failed")["error"]
    assert error is not None
    assert error.startswith("the sandbox cannot be made: running container: ")
    assert "level" not in error
