"""The Kubernetes manifest: against Kubernetes' own schema; its ConfigMaps against the jcard's, and mounted."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agentd.harness.registry import load_harnesses
from agentd.jcard.load import load_jcard
from agentd.jcard.schema import jcard_schema
from agentd.settings.context import load_context
from tests.packaging.kubernetes_schema import KINDS, SCHEMA
from tests.support.daemon import Daemon

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (openapi-spec-validator brings it)")
MANIFEST = Path(__file__).resolve().parents[2] / "packaging/kubernetes.yaml"

JCARD, DROP_INS = "agentd", "agentd-drop-ins"


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(MANIFEST.read_text()))


@pytest.fixture(scope="module")
def config_maps(objects: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """The files of each ConfigMap."""
    return {each["metadata"]["name"]: each["data"] for each in objects if each["kind"] == "ConfigMap"}


@pytest.fixture(scope="module")
def pod(objects: list[dict[str, Any]]) -> dict[str, Any]:
    [stateful] = [each for each in objects if each["kind"] == "StatefulSet"]
    spec: dict[str, Any] = stateful["spec"]["template"]["spec"]
    return spec


def problems(each: dict[str, Any]) -> list[str]:
    """What Kubernetes' schema, where no unknown field is allowed, says against an object."""
    document = json.loads(SCHEMA.read_text())
    schema = {**document, "$ref": f"#/$defs/{KINDS[each['kind']]}"}
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(each)]


def test_every_object_is_valid_by_the_schema_of_kubernetes(objects: list[dict[str, Any]]) -> None:
    assert {each["kind"] for each in objects} == KINDS.keys()
    assert [problem for each in objects for problem in problems(each)] == []


def test_the_schema_of_kubernetes_would_refuse_what_is_no_manifest(objects: list[dict[str, Any]]) -> None:
    [stateful] = [each for each in objects if each["kind"] == "StatefulSet"]
    for spec in ({"replica": 1}, {"replicas": "1"}, {"template": {"spec": {"containers": [{"image": "x"}]}}}):
        assert problems({**stateful, "spec": {**stateful["spec"], **spec}}) != []
    assert problems({**stateful, "apiVersion": "apps/v1beta1"}) != []


def test_every_file_is_valid_by_the_schema_and_by_the_loader(config_maps: dict[str, dict[str, str]]) -> None:
    harnesses = load_harnesses().harnesses
    schema = jsonschema.Draft202012Validator(jcard_schema(harnesses))
    home = Path("/home/agent")
    files = {name: text for data in config_maps.values() for name, text in data.items()}
    names: list[str] = []
    for name, text in files.items():
        schema.validate(tomllib.loads(text))
        context = load_context(Path("/etc/stereos") / name, "agent", home, harnesses, home / ".local/share")
        result = load_jcard(text.encode(), name, context)
        assert result.problems == ()
        names += (agent.name for agent in result.agents)
    assert sorted(names) == ["clock", "watcher"]


def test_the_schema_would_refuse_what_is_no_jcard(config_maps: dict[str, dict[str, str]]) -> None:
    schema = jsonschema.Draft202012Validator(jcard_schema(load_harnesses().harnesses))
    wrong = tomllib.loads(config_maps[JCARD]["jcard.toml"].replace("command", "comand"))
    assert not schema.is_valid(wrong)


def test_the_drop_ins_are_mounted_where_agentd_looks_for_them(
    pod: dict[str, Any], config_maps: dict[str, dict[str, str]]
) -> None:
    [container] = pod["containers"]
    [volume] = [each for each in pod["volumes"] if each.get("configMap", {}).get("name") == DROP_INS]
    [mount] = [each for each in container["volumeMounts"] if each["name"] == volume["name"]]
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert environment == {"AGENTD_CONFIG_DIR": mount["mountPath"]}
    assert mount["readOnly"]
    assert "subPath" not in mount
    assert all(name.endswith(".toml") for name in config_maps[DROP_INS])
    places = [each["mountPath"] for each in container["volumeMounts"]]
    inside = [one for one in places for other in places if one != other and Path(one).is_relative_to(other)]
    assert [place for place in inside if place == mount["mountPath"]] == []


def publish(folder: Path, version: int, files: dict[str, str]) -> None:
    """Write a ConfigMap's files as the kubelet does: into a new folder, which a link then names."""
    fresh = folder / f"..{version}"
    fresh.mkdir(parents=True)
    for name, text in files.items():
        (fresh / name).write_text(text)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..data_tmp").symlink_to(fresh.name)
    (folder / "..data_tmp").rename(folder / "..data")
    for link in folder.glob("*.toml"):
        if link.name not in files:
            link.unlink()


def test_agentd_runs_what_is_mounted_and_follows_what_changes(
    daemon: Daemon, config_maps: dict[str, dict[str, str]]
) -> None:
    mounted, drop_ins = daemon.folder / "etc", daemon.folder / "drop-ins"
    publish(mounted, 1, {daemon.jcard.name: config_maps[JCARD]["jcard.toml"]})
    publish(drop_ins, 1, config_maps[DROP_INS])
    daemon.jcard = mounted / daemon.jcard.name
    daemon.start("--interval", "1h", env={"AGENTD_CONFIG_DIR": str(drop_ins)})
    for name in ("watcher", "clock"):
        daemon.wait_state(name, "running")
    more = config_maps[DROP_INS]["clock.toml"].replace("clock", "second")
    publish(drop_ins, 2, {**config_maps[DROP_INS], "second.toml": more})
    daemon.wait_state("second", "running")
    publish(drop_ins, 3, {"second.toml": more})
    daemon.wait_gone("clock")
    assert set(daemon.agents()) == {"watcher", "second"}
