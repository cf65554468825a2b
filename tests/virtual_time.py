"""Time that tests move: a clock, and an event loop that never waits for the wall."""

import asyncio
import gc
import selectors
import warnings


class Clock:
    """Seconds that pass only when told."""

    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        """The time, as a mechanism reads it."""
        return self.now


class ClockNs(Clock):
    """Nanoseconds that pass only when told."""

    def __init__(self, now=10**12):
        super().__init__(now)

    def advance(self, seconds):
        """Let time pass."""
        self.now += round(seconds * 10**9)


class _JumpingSelector(selectors.SelectSelector):
    """Instead of waiting, moves the clock to the moment of the next timer."""

    def __init__(self, clock):
        super().__init__()
        self._clock = clock

    def select(self, timeout=None):
        """What is ready now; with nothing ready, time passes at once."""
        ready = super().select(0)
        if not ready:
            if timeout is None:
                message = "everybody waits for something that nobody will do"
                raise AssertionError(message)
            self._clock.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop on a Clock; pytest-tornado takes it for its io_loop."""

    def __init__(self, clock):
        super().__init__(_JumpingSelector(clock))
        self._virtual_clock = clock
        self.complaints: list[dict] = []
        self.set_exception_handler(lambda _, told: self.complaints.append(told))

    def time(self):
        """The clock's time."""
        return self._virtual_clock.now

    def run_sync(self, function, timeout=None):
        """Run one test; a deadlock fails at once, so `timeout` is of no use."""
        return self.run_until_complete(function())


def virtual_loop(clock):
    """Lend a loop to one test; it must leave no task and no unread error behind."""
    loop = VirtualLoop(clock)
    # Whose loop was current gets its place back, or nobody would ever close it.
    before = _current_loop()
    asyncio.set_event_loop(loop)
    gc.freeze()  # so that the collection below looks at this test's objects only
    try:
        yield loop
        left = asyncio.all_tasks(loop)
        gc.collect()
    finally:
        gc.unfreeze()
        asyncio.set_event_loop(before)
        loop.close()
    assert not left
    assert not loop.complaints


def _current_loop():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there may be none
        try:
            return asyncio.get_event_loop()
        except RuntimeError:
            return None


async def settle():
    """Let everything run that can run without time passing."""
    for _ in range(20):
        await asyncio.sleep(0)
