"""Decides whether, when and how often a call is made: admission, retries, hedges.

The map, in call order::

    policy             makes a call, with retries and hedges
    hedging            races a late call against another one
    hanging            which calls hang, though others are answered
    lateness           after how many seconds a call is late
    latency            quantiles of the recent calls' durations
    retry              how often a failed call may be retried, and full jitter
    retry_waits        how long a call waits before its next try
    admission          what each call passes first: pauses, breakers, slots
    pauses             the times for which the platform asked not to be called
    endpoint_breakers  a circuit breaker for each endpoint, and one for connections
    outcomes           what a failed try says to the breakers
    circuit_breaker    opens and closes by the outcomes of calls
    bulkhead           the queue for slots
    fair_queue         the order of that queue
    reservations       pages whose calls were admitted as a whole
    slot_pool          the slots that all workers of a machine share
    call_time          the expected duration of a call
    recovery_probe     calls that find out whether a failed endpoint is back
    failure_log        log lines about failed calls
    calls              value types: a call, its caller, its observer

Knows neither HTTP nor the results of calls: a call is a function to await.
"""

from .admission import Admission
from .bulkhead import Bulkhead
from .calls import CallerKey
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
    "CallerKey",
    "EndpointBreakers",
    "FailureLog",
    "RecoveryProbe",
    "Reservation",
    "ResiliencePolicy",
    "RetryBudget",
    "SlotPools",
]
