"""What the real CLIs say of themselves: their versions, whether they can log in, and their models."""

from __future__ import annotations

from typing import cast

from tests.harness.driven import REAL, DrivenCli
from tests.harness.test_real_workers import asked_to, provider_of

pytestmark = REAL

SAID = {"codex": ("gpt-", "codex app-server, model/list"), "opencode": ("stub/stub-model", "opencode models")}
"""How a model's name begins that the program itself lists, and who says so, by harness."""


def test_a_provider_says_its_version_its_login_and_its_models(driven: DrivenCli) -> None:
    driven.daemon.write_jcard(provider_of(driven))
    cli = driven.cli
    (found,) = cast("list[dict[str, object]]", asked_to(driven, f"inventory --provider {cli.harness}")["providers"])
    assert found["installed"] is True
    assert cli.package.version in str(found["version"])
    # The others know nothing of the variable that holds the stub's key.
    if cli.secret != "STUB_KEY":
        assert found["auth"] == {"present": True, "source": f"{cli.secret} is set"}

    (told,) = cast("list[dict[str, object]]", asked_to(driven, "models --provider real")["providers"])
    models = cast("list[dict[str, str]]", told["models"])
    if cli.harness in SAID:
        begins, source = SAID[cli.harness]
        assert told["note"] is None, told
        assert any(each["id"].startswith(begins) for each in models if each["source"] == source), told
        assert {each["confidence"] for each in models if each["source"] == source} == {"exact"}
    else:
        assert "lists no models" in str(told["note"])
        assert {each["confidence"] for each in models} == {"declared"}
