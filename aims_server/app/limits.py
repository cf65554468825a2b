"""Builds the request limits from the settings."""

from typing import TYPE_CHECKING, Final

from ..config import Settings
from ..ratelimit import RateLimiter
from ..web import RequestLimits
from .machine import Machine

if TYPE_CHECKING:
    from ..store import Store

__all__ = ["limit_settings", "request_limits"]

# Enough for a person who mistypes METRICS_TOKEN, and for Prometheus with a wrong one,
# which tries four times a minute.
_GUESSES_PER_MINUTE: Final = 10


def request_limits(
    settings: Settings, machine: Machine, shared: "Store | None"
) -> RequestLimits:
    """The limits of this machine, or with a store those of all machines together: the
    store is asked about each login, and other counts are summed over the machines.
    Wrong guesses of METRICS_TOKEN are counted by each machine alone.
    """

    def limiter(name: str, per_minute: int, *, summed: bool = True) -> RateLimiter:
        return RateLimiter(
            machine.buckets,
            name=name,
            per_minute=per_minute,
            secret=machine.secret,
            shared=summed and shared is not None,
        )

    return RequestLimits(
        student=limiter("student", settings.rate_limit_per_minute),
        address=limiter("address", settings.rate_limit_per_address_per_minute),
        login=limiter("login", settings.login_limit_per_minute, summed=False),
        login_failures=limiter(
            "login-failures", settings.login_failures_per_address_per_minute
        ),
        guesses=limiter("guesses", _GUESSES_PER_MINUTE, summed=False),
        ask_machines=shared.limits.ask if shared else None,
    )


def limit_settings(settings: Settings) -> dict[str, str]:
    """The setting behind each limit, as the log names it."""
    address_failures = settings.login_failures_per_address_per_minute
    return {
        "student": f"RATE_LIMIT_PER_MINUTE={settings.rate_limit_per_minute}",
        "address": "RATE_LIMIT_PER_ADDRESS_PER_MINUTE="
        f"{settings.rate_limit_per_address_per_minute}",
        "login": f"LOGIN_LIMIT_PER_MINUTE={settings.login_limit_per_minute}",
        "login-failures": f"LOGIN_FAILURES_PER_ADDRESS_PER_MINUTE={address_failures}",
        "guesses": f"the limit of {_GUESSES_PER_MINUTE} wrong METRICS_TOKEN a minute",
        "platform": "the platform, which asks it to wait (429)",
    }
