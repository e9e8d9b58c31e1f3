"""What the providers of the four model APIs answer at a usage limit, with the time at which it resets.

Held to what the pinned CLIs make of it: the headers and fields are those that they read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.harness.stub_dialects import Json

ANTHROPIC = "This request would exceed your account's rate limit. Please try again later."
QUOTA = "You exceeded your current quota, please check your plan and billing details."


@dataclass(frozen=True, slots=True)
class Refusal:
    """A 429."""

    headers: Mapping[str, str]
    body: Json


def refusal(api: str, resets_at: int, left: int) -> Refusal:
    """Refuse a request.

    Parameters
    ----------
    api
        Name of the API.
    resets_at
        When the limit resets, in seconds since the epoch.
    left
        Seconds until then.
    """
    match api:
        case "anthropic":
            unified = {
                "status": "rejected",
                "reset": str(resets_at),
                "representative-claim": "five_hour",
                "5h-status": "rejected",
                "5h-utilization": "1.0",
                "5h-reset": str(resets_at),
            }
            headers = {f"anthropic-ratelimit-unified-{name}": value for name, value in unified.items()}
            error: Json = {"type": "rate_limit_error", "message": ANTHROPIC}
            return Refusal({**headers, "retry-after": str(left)}, {"type": "error", "error": error})
        case "responses":
            headers = {
                "x-codex-primary-used-percent": "100",
                "x-codex-primary-window-minutes": "300",
                "x-codex-primary-reset-at": str(resets_at),
            }
            error = {
                "type": "usage_limit_reached",
                "message": "The usage limit has been reached",
                "plan_type": "plus",
                "resets_at": resets_at,
            }
            return Refusal(headers, {"error": error})
        case "chat":
            error = {"message": QUOTA, "type": "insufficient_quota", "code": "insufficient_quota"}
            return Refusal({"retry-after": str(left)}, {"error": error})
        case "gemini":
            google = "type.googleapis.com/google.rpc."
            reason: Json = {"reason": "QUOTA_EXHAUSTED", "domain": "cloudcode-pa.googleapis.com", "metadata": {}}
            details: list[Json] = [
                {"@type": f"{google}ErrorInfo", **reason},
                {"@type": f"{google}RetryInfo", "retryDelay": f"{left}s"},
            ]
            error = {"code": 429, "message": QUOTA, "status": "RESOURCE_EXHAUSTED", "details": details}
            return Refusal({}, {"error": error})
        case _:
            raise AssertionError(api)


def quota(api: str, used: float, resets_at: int) -> Mapping[str, str]:
    """Give the headers by which an answer tells how much of two quotas is used: five hours, and a week.

    Parameters
    ----------
    used
        Percent of the first; of the second it is half of that.
    resets_at
        When both reset, in seconds since the epoch.
    """
    match api:
        case "anthropic":
            unified = {
                "status": "allowed",
                "reset": str(resets_at),
                "representative-claim": "five_hour",
                "5h-status": "allowed",
                "5h-utilization": f"{used / 100:g}",
                "5h-reset": str(resets_at),
                "7d-status": "allowed",
                "7d-utilization": f"{used / 200:g}",
                "7d-reset": str(resets_at),
            }
            return {f"anthropic-ratelimit-unified-{name}": value for name, value in unified.items()}
        case "responses":
            windows = {"primary": (used, 300), "secondary": (used / 2, 7 * 24 * 60)}
            told = {}
            for name, (percent, minutes) in windows.items():
                told[f"{name}-used-percent"] = f"{percent:g}"
                told[f"{name}-window-minutes"] = str(minutes)
                told[f"{name}-reset-at"] = str(resets_at)
            return {f"x-codex-{name}": value for name, value in told.items()}
        case _:
            return {}
