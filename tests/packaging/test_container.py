"""The Containerfile and the Kubernetes manifest, as far as they can be checked without a registry and a cluster."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

from agentd import __version__
from agentd.gateway.command_line import build_parser
from agentd.gateway.http.hosts import is_own
from agentd.gateway.model.names import own_names
from agentd.gateway.tokens import fixed_tokens
from agentd.harness.registry import load_harnesses
from agentd.jcard.load import load_jcard
from agentd.model.channels import RedisLink
from agentd.model.gateway import parse_listen
from agentd.settings.context import load_context
from agentd.settings.flags import OPTIONS
from scripts.locked import read_lock

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (openapi-spec-validator brings it)")
ROOT = Path(__file__).resolve().parents[2]
PLACES = ("AGENTD_TMUX_SOCKET", "AGENTD_API_SOCKET", "AGENTD_STATE_DIR", "AGENTD_SECRET_DIR", "AGENTD_CONFIG")
CONTAINERFILE = (ROOT / "Containerfile").read_text()


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    """The first object of each kind; the other ConfigMap is that of drop-ins (tests/packaging/test_kubernetes.py)."""
    found = list(yaml.safe_load_all((ROOT / "packaging/kubernetes.yaml").read_text()))
    return {each["kind"]: each for each in reversed(found)}


def variables() -> dict[str, str]:
    return dict(re.findall(r"^\s+(?:ENV )?([A-Z_]+)=(\S+)", CONTAINERFILE, re.MULTILINE))


def stages() -> dict[str, str]:
    """What is done in each stage, by its name; the last has none."""
    parts = re.split(r"^FROM (?:\S+)(?: AS (\S+))?\n", CONTAINERFILE, flags=re.MULTILINE)
    return {name or "": text for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def test_the_page_of_opentelemetry_says_how_an_image_gets_the_extra() -> None:
    page = (ROOT / "docs/how-to/opentelemetry.md").read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (line,) = re.findall(r"^RUN (/opt/agentd/bin/pip install .*)$", page, re.MULTILINE)
    assert set(shlex.split(line)[2:]) == set(extras["otel"])
    assert "COPY --from=build /opt/agentd /opt/agentd" in CONTAINERFILE
    # The image's own user is the last one of it.
    (user,) = re.findall(r"^USER (\S+)$", CONTAINERFILE, re.MULTILINE)
    assert f"USER root\nRUN {line}\nUSER {user}\n" in page


def test_the_gateway_is_served_on_8080_with_the_clients_of_all_brokers() -> None:
    gateway = stages()["gateway"]
    (listen,) = re.findall(r'^ENTRYPOINT \["agentd-gateway", "--listen", "(.*)"\]$', gateway, re.MULTILINE)
    assert build_parser().parse_args(["--listen", listen]).listen == ["0.0.0.0:8080"]
    assert "EXPOSE 8080" in gateway
    assert "COPY --from=build-gateway" in gateway
    locked = {package.name for package in read_lock(ROOT / "requirements/channels.txt")}
    assert {"aiokafka", "aws-msk-iam-sasl-signer-python", "redis"} <= locked
    # What both locks have is the same, or one stage would undo the other.
    run = {package.name: package.version for package in read_lock(ROOT / "requirements/run.txt")}
    channels = {package.name: package.version for package in read_lock(ROOT / "requirements/channels.txt")}
    assert {name: run[name] for name in run.keys() & channels.keys()} == {
        name: channels[name] for name in run.keys() & channels.keys()
    }


def test_the_two_of_the_compose_file_share_what_they_meet_in() -> None:
    compose = yaml.safe_load((ROOT / "packaging/compose.yaml").read_text())
    agentd, gateway, redis = (compose["services"][name] for name in ("agentd", "gateway", "redis"))
    assert agentd["volumes"] == gateway["volumes"]
    targets = {each.split(":")[-1 if not each.endswith(":ro") else -2] for each in agentd["volumes"]}
    values = variables()
    assert all(any(Path(values[name]).is_relative_to(target) for target in targets) for name in PLACES)
    (volumes,) = re.findall(r"^VOLUME (\[.*\])$", stages()["gateway"], re.MULTILINE)
    assert {*json.loads(volumes)} <= targets
    assert gateway["build"]["target"] in stages()
    assert gateway["ports"] == ["127.0.0.1:8080:8080"]
    assert redis["profiles"] == ["redis"]


def test_the_published_port_of_the_compose_file_is_the_one_that_is_listened_on_and_may_be_asked_for() -> None:
    compose = yaml.safe_load((ROOT / "packaging/compose.yaml").read_text())
    gateway = compose["services"]["gateway"]
    (listen,) = re.findall(r'^ENTRYPOINT \["agentd-gateway", "--listen", "(.*)"\]$', CONTAINERFILE, re.MULTILINE)
    address = parse_listen(listen)
    assert address.host is not None
    ((published, port, inside),) = (each.split(":") for each in gateway["ports"])
    assert int(inside) == address.port
    assert f"EXPOSE {inside}" in stages()["gateway"]
    assert f"http://127.0.0.1:{inside}/health" in stages()["gateway"], "its health is asked for where it listens"
    # A connection to a published port arrives at an address of the container's.
    names = own_names([address.host], [])
    assert is_own(f"{published}:{port}", "172.18.0.2", names)
    assert is_own(f"localhost:{port}", "172.18.0.2", names)
    assert {*gateway["environment"]} == {"AGENTD_AUTH_TOKEN"}, "what the gateway reads of its environment"
    assert fixed_tokens({"AGENTD_AUTH_TOKEN": "t0ken"}, ())
    assert gateway["environment"]["AGENTD_AUTH_TOKEN"].startswith("${AGENTD_AUTH_TOKEN:?"), "none is refused at once"


def test_redis_of_the_compose_file_is_where_channels_say_it_is() -> None:
    text = (ROOT / "packaging/compose.yaml").read_text()
    compose = yaml.safe_load(text)
    (url,) = re.findall(r'url = "(redis://.*?)"', text)
    channel = f'[[gateway.channels]]\nagent = "a"\nbackend = "redis"\nchannel_name = "c"\nurl = "{url}"\n'
    home = Path("/home/agent")
    context = load_context(Path("/etc/stereos/jcard.toml"), "agent", home, load_harnesses().harnesses, home / "data")
    loaded = load_jcard(channel.encode(), "jcard.toml", context)
    assert not loaded.problems
    assert loaded.gateway is not None
    (declared,) = loaded.gateway.channels
    assert isinstance(declared.link, RedisLink)
    assert declared.link.url.startswith("redis://redis:6379/"), "the name of the service, and the image's port"
    # A stream is to outlive the container, and the image's server works in /data.
    assert compose["services"]["redis"]["command"] == ["redis-server", "--appendonly", "yes"]
    assert compose["services"]["redis"]["volumes"] == ["redis:/data"]
    used = {each.split(":")[0] for service in compose["services"].values() for each in service["volumes"]}
    assert {each for each in used if each.isidentifier()} == {*compose["volumes"]}


def test_the_image_names_every_path_by_the_variables_of_the_daemon() -> None:
    known = {option.environment for option in OPTIONS if option.environment}
    named = {name for name in variables() if name.startswith("AGENTD_")}
    assert named <= known
    assert {
        "AGENTD_CONFIG",
        "AGENTD_SECRET_DIR",
        "AGENTD_TMUX_SOCKET",
        "AGENTD_API_SOCKET",
        "AGENTD_STATE_DIR",
    } <= named


def test_the_image_runs_without_privileges_and_copies_what_exists() -> None:
    assert re.findall(r"^USER (\S+)", CONTAINERFILE, re.MULTILINE) == ["1000:1000"]
    copied = [line.split()[1:-1] for line in re.findall(r"^COPY (?!--from).*", CONTAINERFILE, re.MULTILINE)]
    assert [path for paths in copied for path in paths if not (ROOT / path).exists()] == []


def test_the_image_has_no_utempter_for_tmux_to_wait_for() -> None:
    last = stages()["base"]
    assert last.index("path-exclude=/usr/lib/*/utempter/*") < last.index("apt-get install")


def test_the_pod_has_a_place_for_all_that_is_written(manifest: dict[str, Any]) -> None:
    pod = manifest["StatefulSet"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["image"].endswith(f":{__version__}")
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"] for volume in pod["volumes"]}
    claims = {claim["metadata"]["name"] for claim in manifest["StatefulSet"]["spec"]["volumeClaimTemplates"]}
    assert {mount["name"] for mount in mounts.values()} == volumes | claims
    values = variables()
    for name in PLACES:
        place = next((path for path in mounts if Path(values[name]).is_relative_to(path)), None)
        assert place is not None, name
        assert mounts[place].get("readOnly", False) == (name in ("AGENTD_SECRET_DIR", "AGENTD_CONFIG"))
        assert "subPath" not in mounts[place], "a file mounted by subPath is never updated"


def test_the_objects_of_the_manifest_belong_together(manifest: dict[str, Any]) -> None:
    stateful = manifest["StatefulSet"]["spec"]
    labels = stateful["template"]["metadata"]["labels"]
    assert stateful["selector"]["matchLabels"] == labels == manifest["Service"]["spec"]["selector"]
    assert stateful["serviceName"] == manifest["Service"]["metadata"]["name"]
    assert stateful["replicas"] == 1
    volumes = {volume["name"]: volume for volume in stateful["template"]["spec"]["volumes"]}
    assert volumes["jcard"]["configMap"]["name"] == manifest["ConfigMap"]["metadata"]["name"]
    assert volumes["secrets"]["secret"]["secretName"] == manifest["Secret"]["metadata"]["name"]


def test_the_jcard_of_the_manifest_is_valid(manifest: dict[str, Any]) -> None:
    text = manifest["ConfigMap"]["data"]["jcard.toml"]
    home = Path("/home/agent")
    harnesses = load_harnesses().harnesses
    context = load_context(Path("/etc/stereos/jcard.toml"), "agent", home, harnesses, home / ".local/share")
    result = load_jcard(text.encode(), "jcard.toml", context)
    assert result.problems == ()
    assert [agent.name for agent in result.agents] == ["watcher"]
