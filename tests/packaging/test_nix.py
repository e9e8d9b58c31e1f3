"""The flake and the NixOS module, as far as a machine without nixpkgs can check them.

The module is evaluated with the real ``lib`` of nixpkgs (the repository nix-community/nixpkgs.lib; ``NIXPKGS_LIB``
names a checkout of it) and stubbed options of NixOS. The package's build and a booted NixOS are ``checks`` of the
flake, for machines with Nix.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TypedDict, cast

import pytest
import tomlkit
from packaging.specifiers import SpecifierSet

from agentd import __version__
from agentd.model.spec import RestartPolicy
from agentd.settings.settings import resolve_settings
from agentd.supervise.check import check
from scripts.locked import read_lock
from tests.jcard.loading import load

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([ROOT / "flake.nix", *(ROOT / "nix").rglob("*.nix")])
LIB = os.environ.get("NIXPKGS_LIB", "")

needs_nix = pytest.mark.skipif(
    shutil.which("nix-instantiate") is None, reason="nix-instantiate is not installed (nix-bin)"
)
needs_lib = pytest.mark.skipif(
    not Path(LIB, "lib/default.nix").is_file(), reason="NIXPKGS_LIB names no checkout of nix-community/nixpkgs.lib"
)

PACKAGE = (ROOT / "nix/package.nix").read_text()
JCARD = "stereos/jcard.toml"
USERS = "{ users.users.agent.isNormalUser = true; services.agentd.enable = true; }"
DOWNSTREAM = """{ lib, pkgs, ... }: {
  services.agentd.enable = true;
  users.users.agent.isNormalUser = true;
  systemd.tmpfiles.rules = [ "d /run/agentd 0750 agent admin -" ];
  systemd.services.agentd = {
    after = [ "stereosd.service" ];
    requires = [ "stereosd.service" ];
    path = [ pkgs.gvisor pkgs.nix ];
    serviceConfig = {
      DynamicUser = lib.mkForce false;
      Restart = lib.mkForce "on-failure";
      RestartSec = 5;
    };
  };
}"""


class Evaluated(TypedDict):
    """What nix/tests/evaluate.nix shows of a configuration."""

    warnings: list[str]
    serviceConfig: dict[str, object]
    path: list[str]
    userNamespaces: bool
    tmpfiles: list[str]
    packages: list[str]
    unit: str
    check: str | None
    files: dict[str, dict[str, object]]
    """By their paths below /etc."""


def extra_of(name: str) -> list[tuple[str, str]]:
    """What an extra of the project names: packages, and the versions that it takes."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    return [pair for each in extras[name] for pair in re.findall(r"^([\w-]+)(.*)$", each)]


def instantiate(*arguments: str) -> subprocess.CompletedProcess[str]:
    # Nothing is built, so no group of builders is needed: nix-bin makes none, and nix warns of that.
    env = {**os.environ, "NIX_CONFIG": "build-users-group ="}
    return subprocess.run(["nix-instantiate", *arguments], env=env, capture_output=True, text=True, check=False)


def nix(*arguments: str) -> subprocess.CompletedProcess[str]:
    return instantiate("--store", "dummy://", "--eval", "--strict", "--json", *arguments)


def attempt(*modules: str, service: str = "agentd") -> subprocess.CompletedProcess[str]:
    listed = " ".join(f"({module})" for module in modules)
    file = str(ROOT / "nix/tests/evaluate.nix")
    arguments = (
        "--arg",
        "lib",
        f"import {LIB}/lib",
        "--arg",
        "modules",
        f"[ {listed} ]",
        "--argstr",
        "service",
        service,
    )
    return nix(file, *arguments)


def evaluate_any(*modules: str, service: str = "agentd") -> object:
    done = attempt(*modules, service=service)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def evaluate(*modules: str, service: str = "agentd") -> Evaluated:
    return cast("Evaluated", evaluate_any(*modules, service=service))


@needs_nix
@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_file_is_nix(file: Path) -> None:
    done = instantiate("--parse", str(file))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_package_has_the_dependencies_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    named = {re.split(r"[<>=;\[ ]", each)[0] for each in project}
    listed = re.search(r"dependencies = with python3Packages; \[(.*?)]", PACKAGE, re.DOTALL)
    assert listed is not None
    assert set(listed[1].split()) == named


@pytest.mark.parametrize(("extra", "without"), [("gateway", {"aiohttp", "mkdocs-swagger-ui-tag"}), ("otel", set())])
def test_the_package_has_what_an_extra_needs_and_nixpkgs_has(extra: str, without: set[str]) -> None:
    listed = re.search(rf"{extra} = with python3Packages; \[(.*?)]", PACKAGE, re.DOTALL)
    assert listed is not None
    assert set(listed[1].split()) == {name for name, _ in extra_of(extra)} - without


@needs_nix
@needs_lib
def test_the_flake_has_the_outputs_that_others_build_on() -> None:
    flake = f"""
      let
        lib = import {LIB}/lib;
        nixpkgs = {{ inherit lib; legacyPackages = lib.genAttrs [
          "x86_64-linux" "aarch64-linux" "x86_64-darwin" "aarch64-darwin"
        ] (system: {{ inherit system; }}); }};
        flake = import {ROOT}/flake.nix;
        outputs = flake.outputs {{ self = outputs; inherit nixpkgs; }};
        names = builtins.mapAttrs (_: builtins.attrNames);
      in {{
        inputs = builtins.attrNames flake.inputs;
        packages = names outputs.packages;
        overlay = builtins.attrNames (outputs.overlays.default {{ callPackage = file: _: file; }} {{ }});
        modules = builtins.attrNames outputs.nixosModules;
        shells = names outputs.devShells;
        checks = names outputs.checks;
      }}"""
    done = nix("--expr", flake)
    assert done.returncode == 0, done.stderr
    outputs = json.loads(done.stdout)
    systems = {"x86_64-linux", "aarch64-linux", "x86_64-darwin", "aarch64-darwin"}
    assert outputs["inputs"] == ["nixpkgs"]
    assert outputs["packages"] == {system: ["agentd", "default"] for system in systems}
    assert outputs["overlay"] == ["agentd"]
    assert outputs["modules"] == ["agentd", "default"]
    assert outputs["shells"] == {system: ["default"] for system in systems}
    assert outputs["checks"]["x86_64-linux"] == ["nixos", "package"]
    assert outputs["checks"]["aarch64-darwin"] == ["package"]


@needs_nix
@needs_lib
def test_the_packages_version_is_the_projects() -> None:
    package = f"""
      let lib = import {LIB}/lib; in
      (import {ROOT}/nix/package.nix {{
        inherit lib;
        python3Packages = {{ buildPythonApplication = arguments: arguments; hatchling = null; }};
        bash = null; coreutils = null; gitMinimal = null; procps = null; tmux = null;
      }}).version"""
    done = nix("--expr", package)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == __version__


@needs_nix
@needs_lib
@pytest.mark.parametrize(("version", "built"), [("0.55.0", "0.62.0"), ("0.62.1", "0.62.1"), ("0.63.0", "0.62.0")])
def test_the_packages_libtmux_is_of_the_series_that_agentd_holds_to(version: str, built: str) -> None:
    package = f"""
      let lib = import {LIB}/lib; in
      map (each: {{ inherit (each) version; hash = each.src.hash or null; }}) (import {ROOT}/nix/package.nix {{
        inherit lib;
        python3Packages = lib.genAttrs [
          "aiohttp" "cronsim" "durationpy" "platformdirs" "prometheus-client" "pydantic" "pyte" "structlog" "tomlkit"
          "watchfiles" "alembic" "asyncpg" "markdown-it-py" "sqlalchemy" "opentelemetry-sdk"
        ] (name: {{ version = name; }}) // {{
          buildPythonApplication = arguments: arguments; hatchling = null;
          fetchPypi = arguments: arguments;
          libtmux = {{ version = "{version}"; overridePythonAttrs = change: change {{ }}; }};
        }};
        bash = null; coreutils = null; gitMinimal = null; procps = null; tmux = null;
      }}).dependencies"""
    done = nix("--expr", package)
    assert done.returncode == 0, done.stderr
    (found,) = (each for each in json.loads(done.stdout) if each["version"].startswith("0."))
    assert found["version"] == built
    if built != version:
        (libtmux,) = (each for each in read_lock(ROOT / "requirements/run.txt") if each.name == "libtmux")
        assert built == libtmux.version
        assert base64.b64decode(found["hash"].removeprefix("sha256-")).hex() in libtmux.hashes


@needs_nix
@needs_lib
@pytest.mark.parametrize(
    ("version", "has_it"), [("1.45.0", True), ("1.45.2", True), ("1.44.0", False), ("1.46.0", False)]
)
def test_the_package_has_the_sdk_of_opentelemetry_where_nixpkgs_has_its_series(version: str, has_it: bool) -> None:
    package = f"""
      let lib = import {LIB}/lib; in
      map (each: each.name) (import {ROOT}/nix/package.nix {{
        inherit lib;
        python3Packages = lib.genAttrs [
          "aiohttp" "cronsim" "durationpy" "libtmux" "platformdirs" "prometheus-client" "pydantic" "pyte" "structlog"
          "tomlkit" "watchfiles" "alembic" "asyncpg" "markdown-it-py" "sqlalchemy" "requests" "opentelemetry-sdk"
          "opentelemetry-exporter-otlp-proto-http"
        ] (name: {{ inherit name; version = if name == "libtmux" then "0.62.0" else "{version}"; }}) // {{
          buildPythonApplication = arguments: arguments; hatchling = null;
        }};
        bash = null; coreutils = null; gitMinimal = null; procps = null; tmux = null;
      }}).dependencies"""
    done = nix("--expr", package)
    assert done.returncode == 0, done.stderr
    otel = extra_of("otel")
    found = {name for name, _ in otel} & set(json.loads(done.stdout))
    assert found == ({name for name, _ in otel} if has_it else set())
    assert all(SpecifierSet(wanted).contains(version) == has_it for name, wanted in otel if name != "requests")


@needs_nix
@needs_lib
def test_the_packages_tmux_waits_for_no_utempter() -> None:
    package = f"""
      let lib = import {LIB}/lib // {{ makeBinPath = map (each: each.withUtempter); }}; in
      {{ inherit ((import {ROOT}/nix/package.nix {{
        inherit lib;
        python3Packages = {{ buildPythonApplication = arguments: arguments; hatchling = null; }};
        bash = null; coreutils = null; gitMinimal = null; procps = null;
        tmux = {{ withUtempter = true; override = arguments: arguments; }};
      }})) passthru makeWrapperArgs; }}"""
    done = nix("--expr", package)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["passthru"]["tmux"] == {"withUtempter": False}
    assert found["makeWrapperArgs"][-1] == [False]


@needs_nix
@needs_lib
def test_nothing_is_declared_where_it_is_not_enabled() -> None:
    assert evaluate_any("{ }") == {"services": []}


@needs_nix
@needs_lib
def test_the_service_is_the_packaged_unit_with_the_packages_agentd() -> None:
    shown = evaluate(USERS)
    packaged = dict(
        line.split("=", 1)
        for line in (ROOT / "packaging/agentd.service").read_text().partition("[Service]")[2].splitlines()
        if line and line[0] not in "#["
    )
    del packaged["WantedBy"]
    packaged["ExecStart"] = "/nix/store/agentd/bin/agentd --on-shutdown keep"
    packaged["ExecReload"] = "/nix/store/coreutils/bin/kill -HUP $MAINPID"
    assert shown["serviceConfig"] == packaged
    assert shown["packages"] == ["agentd"]
    assert shown["files"] == {}, "an operator writes /etc/stereos/jcard.toml"
    assert shown["warnings"] == []


@needs_nix
@needs_lib
def test_a_distributions_module_stacks_on_it_without_conflict() -> None:
    shown = evaluate(DOWNSTREAM, '{ services.agentd.extraArgs = [ "-interval" "10s" ]; }')
    service = shown["serviceConfig"]
    assert (service["RestartSec"], service["Restart"], service["DynamicUser"]) == (5, "on-failure", False)
    assert "After=network-online.target stereosd.service\n" in shown["unit"]
    assert "Requires=stereosd.service\n" in shown["unit"]
    assert {"/nix/store/gvisor", "/nix/store/nix", "/nix/store/tmux-of-agentd"} <= set(shown["path"])
    assert str(service["ExecStart"]).endswith("--on-shutdown keep -interval 10s")


@needs_nix
@needs_lib
@pytest.mark.parametrize(
    "key", ["ExecStart", "KillMode", "Type", "WatchdogSec", "ProtectSystem", "CapabilityBoundingSet"]
)
def test_every_key_of_the_service_may_be_set_by_another_module(key: str) -> None:
    shown = evaluate(USERS, f'{{ systemd.services.agentd.serviceConfig.{key} = "other"; }}')
    assert shown["serviceConfig"][key] == "other"


@needs_nix
@needs_lib
def test_each_option_says_what_the_daemon_is_told() -> None:
    shown = evaluate(
        USERS,
        """{ pkgs, ... }: {
          users.users.bots = { };
          services.agentd = {
            configFile = "/srv/100% $HOME/jcard.toml";
            secretDir = "/run/secrets";
            agentUser = "bots";
            adminGroup = "ops";
            keepAgentsOnRestart = false;
            harnessPackages = [ pkgs.hello ];
            extraArgs = [ "--debug" ];
          };
        }""",
    )
    assert shown["serviceConfig"]["ExecStart"] == (
        '/nix/store/agentd/bin/agentd --config "/srv/100%% $$HOME/jcard.toml" --secret-dir /run/secrets'
        " --agent-user bots --admin-group ops --on-shutdown stop --debug"
    )
    assert shown["path"][0] == "/nix/store/hello"


@needs_nix
@needs_lib
def test_a_user_that_nobody_declares_is_warned_of() -> None:
    assert "agents will run as root" in evaluate("{ services.agentd.enable = true; }")["warnings"][0]
    shown = evaluate('{ services.agentd = { enable = true; agentUser = "bots"; }; }')
    assert "users.users has no bots" in shown["warnings"][0]


@needs_nix
@needs_lib
@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ('agents = [ { harness = "custom"; restart = "sometimes"; } ];', "restart"),
        ('agents = [ { harness = "custom"; grace_period = "30"; } ];', "grace_period"),
        ('agents = [ { harness = "custom"; name = "a b"; } ];', "name"),
        ('agents = [ { name = "a"; } ];', "harness"),
        ("agents = { };", "agents"),
    ],
)
def test_settings_are_typed(settings: str, complaint: str) -> None:
    done = attempt(USERS, f"{{ services.agentd.settings = {{ {settings} }}; }}")
    assert done.returncode == 1
    assert "services.agentd.settings.agents" in done.stderr
    assert complaint in done.stderr


@needs_nix
@needs_lib
@pytest.mark.parametrize("duration", ["", "0", ".5s", "+5s", "1h30m", "250μs"])
def test_settings_take_what_the_loader_takes(duration: str) -> None:
    fields = ("name", "type", "mode", "restart", "max_restarts", "replicas", "enabled", "memory")
    unset = "".join(f'{field} = "";' for field in fields)
    agent = f'{{ harness = "custom"; {unset} grace_period = "{duration}"; }}'
    shown = evaluate(USERS, f"{{ services.agentd.settings.agents = [ {agent} ]; }}")
    assert load(tomlkit.dumps(shown["files"][JCARD])).problems == ()


@needs_nix
@needs_lib
def test_two_homes_for_the_jcard_are_refused() -> None:
    done = attempt(USERS, '{ services.agentd = { configFile = "/x"; settings.agent.harness = "claude-code"; }; }')
    assert done.returncode == 1
    assert "settings and configFile both say what the jcard is" in done.stderr


@needs_nix
@needs_lib
def test_settings_become_a_jcard_that_is_checked_and_loads(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = evaluate(
        USERS,
        """{ services.agentd.settings.agents = [
          { name = "watcher"; harness = "custom"; command = [ "sh" "-c" "echo \\"hi\\" $HOME" ]; workdir = "~";
            restart = "on-failure"; max_restarts = 2; restart_delay = "1.5s"; grace_period = "1h30m"; env.A = "b"; }
        ]; }""",
        """{ services.agentd.settings = {
          mixtape = "coder";
          agents = [ { harness = "claude-code"; prompt = "Say 'hello'\\n"; replicas = 2; enabled = false; } ];
        }; }""",
    )
    assert shown["check"] is not None
    assert "agentd --check --config" in shown["check"]
    path = short_folder / "jcard.toml"
    path.write_text(tomlkit.dumps(shown["files"][JCARD]))
    monkeypatch.setenv("HOME", str(short_folder))
    settings = resolve_settings({"config": str(path)}, os.environ, root=False)
    result = check(settings, os.environ)
    assert [str(problem) for problem in result.problems] == []
    agents = {agent.name: agent for agent in result.agents}
    assert list(agents) == ["watcher", "claude-code-0", "claude-code-1"]
    policy = agents["watcher"].policy
    assert (policy.restart, policy.max_restarts, policy.restart_delay, policy.grace_period) == (
        RestartPolicy.ON_FAILURE, 2, 1.5, 5400.0,
    )  # fmt: skip
    assert agents["watcher"].env == {"A": "b"}
    assert not agents["claude-code-1"].enabled


@needs_nix
@needs_lib
def test_drop_ins_stand_beside_the_jcard_and_are_checked_with_it(short_folder: Path) -> None:
    shown = evaluate(
        USERS,
        """{ services.agentd = {
          settings.agent = { harness = "custom"; name = "one"; command = [ "true" ]; };
          dropIns."ci/nightly".agents = [ { name = "nightly"; harness = "codex"; } ];
        }; }""",
        """{ services.agentd.dropIns.team = {
          drop_in.lease = "30s";
          agent = { name = "two"; harness = "custom"; command = [ "true" ]; };
        }; }""",
    )
    assert set(shown["files"]) == {JCARD, "stereos/jcard.d/ci/nightly.toml", "stereos/jcard.d/team.toml"}
    for path, content in shown["files"].items():
        file = short_folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(tomlkit.dumps(content))
    settings = resolve_settings({"config": str(short_folder / JCARD)}, {"HOME": str(short_folder)}, root=False)
    result = check(settings, {"HOME": str(short_folder)})
    assert [str(problem) for problem in result.problems] == []
    assert [(agent.name, agent.owner) for agent in result.agents] == [
        ("one", None), ("nightly", "ci"), ("two", None),
    ]  # fmt: skip
    assert shown["check"] is not None
    for name in ("jcard.toml", "jcard.d/ci/nightly.toml", "jcard.d/team.toml"):
        assert f"{Path(name).name} {name}\n" in shown["check"]


@needs_nix
@needs_lib
def test_drop_ins_alone_are_checked_too() -> None:
    shown = evaluate(USERS, '{ services.agentd.dropIns.a.agent.harness = "codex"; }')
    assert list(shown["files"]) == ["stereos/jcard.d/a.toml"]
    assert shown["check"] is not None


@needs_nix
@needs_lib
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ('dropIns.".a".agent.harness = "codex";', "a name is NAME or OWNER/NAME"),
        ('dropIns."a/b/c".agent.harness = "codex";', "a name is NAME or OWNER/NAME"),
        ('dropIns."../a".agent.harness = "codex";', "a name is NAME or OWNER/NAME"),
        ('dropIns.a.agent.harness = "codex"; configFile = "/x";', "dropIns stand beside /etc/stereos/jcard.toml"),
    ],
)
def test_drop_ins_that_agentd_would_not_find_are_refused(options: str, complaint: str) -> None:
    done = attempt(USERS, f"{{ services.agentd = {{ {options} }}; }}")
    assert done.returncode == 1
    assert complaint in done.stderr


@needs_nix
@needs_lib
def test_the_build_checks_as_a_builder_can(short_folder: Path) -> None:
    # No home, no XDG folders, nothing but PATH and TMPDIR.
    jcard = short_folder / "jcard.toml"
    jcard.write_text('[agent]\nharness = "custom"\ncommand = ["true"]\nworkdir = "~"\n')
    bare = {"PATH": os.environ["PATH"], "HOME": str(short_folder), "TMPDIR": str(short_folder)}
    done = subprocess.run(
        [sys.executable, "-m", "agentd.daemon.command_line", "--check", "--config", jcard],
        env=bare, capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@needs_nix
@needs_lib
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("modules", [(USERS,), (DOWNSTREAM,)], ids=["alone", "downstream"])
def test_systemd_has_nothing_to_say_about_the_unit(modules: tuple[str, ...], short_folder: Path) -> None:
    shown = evaluate(*modules)
    unit = short_folder / "agentd.service"
    # Its dependency is another package's unit.
    unit.write_text(shown["unit"].replace("Requires=stereosd.service\n", ""))
    done = subprocess.run([ROOT / "scripts/lint-unit", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


BOXED = '{ services.agentd.%s = [ { name = "a"; harness = "codex"; type = "sandboxed"; %s } ]; }'


@needs_nix
@needs_lib
def test_a_sandboxed_agent_brings_what_its_sandbox_needs() -> None:
    def added(*modules: str) -> tuple[set[str], bool]:
        found = evaluate(USERS, *modules)
        return {Path(each).name for each in found["path"]} & {"bubblewrap", "gvisor", "openssl"}, found[
            "userNamespaces"
        ]

    assert added() == (set(), False)
    assert added("{ services.agentd.sandbox.enable = true; }") == ({"bubblewrap", "openssl"}, True)
    for place in ("settings.agents", 'dropIns."ci/nightly".agents'):
        assert added(BOXED % (place, "")) == ({"bubblewrap", "openssl"}, True)
    assert added(BOXED % ("settings.agents", 'sandbox = "gvisor";')) == ({"bubblewrap", "gvisor", "openssl"}, True)
    refused = attempt(USERS, BOXED % ("settings.agents", ""), "{ security.allowUserNamespaces = false; }")
    assert "sandboxed agents need user namespaces" in refused.stderr


@needs_nix
@needs_lib
def test_the_gateway_is_a_service_of_its_own_where_it_is_enabled() -> None:
    alone = cast("dict[str, list[str]]", evaluate_any(USERS, service="agentd-gateway"))
    assert alone == {"services": ["agentd"]}
    options = """{ services.agentd = {
      configFile = "/srv/jcard.toml";
      gateway = { enable = true; listen = [ "0.0.0.0:8765" "unix:/run/agentd/g.sock" ]; tokenFiles = [ "/run/k" ]; };
    }; }"""
    gateway = evaluate(USERS, options, service="agentd-gateway")
    assert gateway["serviceConfig"]["ExecStart"] == (
        "/nix/store/agentd/bin/agentd-gateway --config /srv/jcard.toml --listen 0.0.0.0:8765 "
        "--listen unix:/run/agentd/g.sock --auth-token-file /run/k"
    )
    assert "After=agentd.service network-online.target" in gateway["unit"]
    assert gateway["serviceConfig"]["NoNewPrivileges"] == "yes"
    assert (
        evaluate(USERS, options)["serviceConfig"]["ExecStart"]
        == evaluate(USERS, '{ services.agentd.configFile = "/srv/jcard.toml"; }')["serviceConfig"]["ExecStart"]
    )
