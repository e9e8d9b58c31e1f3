"""A file of hosts, to plan for without asking anybody: TOML, or what ``agentctl fleet hosts --json`` prints. Pure."""

from __future__ import annotations

import json
import tomllib
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from agentd.fleet.plans import Host
from agentd.fleet.protocol import HostState
from agentd.jcard.field_types import Size
from agentd.jcard.place_table import MOST_SLOTS, check_host, check_label
from agentd.text.quoting import show

_Label = Annotated[str, AfterValidator(check_label)]

_EXAMPLE: Final = '[[hosts]] with name and slots, such as name = "a" and slots = 50'


class HostsFileError(Exception):
    """A file of hosts is wrong; the text says where, and what was expected."""


class _HostTable(BaseModel):
    """One ``[[hosts]]`` table."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: Annotated[str, AfterValidator(check_host)]
    slots: Annotated[int, Field(ge=0, le=MOST_SLOTS)]
    cpus: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    memory: Size = 0
    gpus: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    labels: dict[_Label, _Label] = {}
    cordoned: bool = False
    draining: bool = False
    lost: bool = False

    def host(self) -> Host:
        """Give the host."""
        return Host(
            name=self.name,
            slots=self.slots,
            cpus=self.cpus,
            memory=self.memory,
            gpus=self.gpus,
            labels=tuple(sorted(self.labels.items())),
            cordoned=self.cordoned,
            draining=self.draining,
            alive=not self.lost,
        )


def parse_hosts(data: bytes, path: str) -> tuple[Host, ...]:
    """Read the hosts of a file.

    Parameters
    ----------
    path
        What messages call it.

    Raises
    ------
    HostsFileError
        If it is not one.
    """
    try:
        text = data.decode()
        found = _from_json(text) if text.lstrip().startswith(("[{", "[\n", "[]")) else tomllib.loads(text).get("hosts")
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise HostsFileError(f"{path}: expected hosts in TOML or JSON: {error}") from None
    if not isinstance(found, list) or not found:
        raise HostsFileError(f"{path}: there are no hosts in it; expected {_EXAMPLE}")
    hosts: dict[str, Host] = {}
    for at, raw in enumerate(found):
        host = _read(raw, f"{path}: hosts[{at}]")
        if hosts.setdefault(host.name, host) is not host:
            raise HostsFileError(f"{path}: hosts[{at}]: found {show(host.name)} twice; each host needs its own name")
    return tuple(hosts.values())


def _read(raw: object, where: str) -> Host:
    if not isinstance(raw, dict):
        raise HostsFileError(f"{where}: found {show(raw)}, expected {_EXAMPLE}")
    try:
        return _HostTable.model_validate(raw).host()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        match first["type"]:
            case "value_error":
                reason = str(first.get("ctx", {}).get("error"))
            case "missing":
                reason = f"missing, expected {_EXAMPLE}"
            case "extra_forbidden":
                reason = f"unknown key, expected one of {', '.join(_HostTable.model_fields)}"
            case _:
                reason = f"found {show(first['input'])}: {first['msg']}"
        raise HostsFileError(f"{where}: {field}: {reason}") from None


def _from_json(text: str) -> object:
    """Take what placement needs of the hosts that a fleet shows."""
    shown = json.loads(text)
    if not isinstance(shown, list):
        return None
    return [_of_view(each) if isinstance(each, dict) and "state" in each else each for each in shown]


def _of_view(view: dict[str, object]) -> dict[str, object]:
    kept: dict[str, object] = {
        name: view[name] for name in ("name", "slots", "cpus", "memory", "gpus", "labels") if name in view
    }
    state = view["state"]
    kept["draining"] = state == HostState.DRAINING
    kept["lost"] = state in (HostState.LOST, HostState.FENCED)
    return kept
