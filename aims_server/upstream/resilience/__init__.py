"""Whether, when and how often a call is made: it is admitted, repeated, hedged.

The map, in call order::

    policy             makes a call: again, or with another one beside it
    hedging            the race of a late call with another one
    lateness           after how long a call is late
    latency            how long the recent calls took
    retry              how often and how soon a failed call may be made again
    admission          what each call passes first: pauses, breakers, slots
    pauses             the times for which the platform asked not to be called
    endpoint_breakers  whether an endpoint is called at all
    circuit_breaker    one of them: opened and closed by the ends of calls
    bulkhead           the queue for a slot
    fair_queue         whose turn it is there
    reservations       pages whose calls were admitted as a whole
    slot_pool          the slots that all workers of a machine share
    call_time          how long a call is thought to take
    recovery_probe     calls to an endpoint that nobody calls, to see it return
    failure_log        log lines of calls that failed
    calls              the vocabulary: a call, its caller, its observer

Knows neither HTTP nor what a call brings: a call is a function that it awaits.
"""

from .admission import Admission
from .bulkhead import Bulkhead
from .calls import CallerKey, CallTally, call_tally
from .endpoint_breakers import EndpointBreakers
from .failure_log import FailureLog
from .policy import ResiliencePolicy
from .recovery_probe import RecoveryProbe
from .reservations import Reservation
from .retry import RetryBudget
from .slot_pool import SlotPools

__all__ = [
    "Admission",
    "Bulkhead",
    "CallTally",
    "CallerKey",
    "EndpointBreakers",
    "FailureLog",
    "RecoveryProbe",
    "Reservation",
    "ResiliencePolicy",
    "RetryBudget",
    "SlotPools",
    "call_tally",
]
