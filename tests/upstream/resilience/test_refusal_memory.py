"""What a failed call leaves behind: nothing, without the collector's help."""

import asyncio
import gc
import weakref

import pytest

from aims_server.deadline import Deadline
from aims_server.errors import TokenRefused, UpstreamFault
from aims_server.upstream.resilience import CallerKey
from aims_server.upstream.resilience.admission import Admission
from aims_server.upstream.resilience.bulkhead import Bulkhead
from aims_server.upstream.resilience.endpoint_breakers import EndpointBreakers
from aims_server.upstream.resilience.policy import ResiliencePolicy
from aims_server.upstream.resilience.retry import RetryBudget
from tests.upstream.resilience.bench import Told

pytestmark = pytest.mark.gen_test


class Secret(str):
    """A token that can be watched."""

    __slots__ = ("__weakref__",)


@pytest.mark.parametrize("repeatable", [True, False])
@pytest.mark.parametrize("fault", [TokenRefused, UpstreamFault])
async def test_a_failed_call_is_gone_at_once(fault, repeatable):
    """Its error, its frames and the token in them are freed."""
    retries = RetryBudget()
    guard = ResiliencePolicy(
        Admission(Bulkhead(2), EndpointBreakers(["cards"])),
        Told(),
        retries=retries,
        hedges=retries.for_hedges(),
        random=lambda: 0.0,
    )

    async def ask(token):
        async def attempt(_, *, fresh):
            await asyncio.sleep(0)
            raise fault(token)

        deadline = Deadline(5.0)
        caller = CallerKey.address("192.0.2.7")
        try:
            await guard.call("cards", caller, attempt, deadline, repeatable=repeatable)
        except fault:
            return

    gc.collect()
    gc.disable()
    try:
        token = Secret("token")
        gone = weakref.ref(token)
        await ask(token)
        del token
        await asyncio.sleep(0)
        assert gone() is None
    finally:
        gc.enable()
