"""Lets the workers of a machine follow a gathering that one of them runs."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Final

import msgspec

from ..cache import SharedLog
from ..domain import SubjectDays
from ..web import Session
from .gathering import Gathering, Gatherings
from .student_records import FetchedFiles

__all__ = ["SharedGatherings"]

_POLL_SECONDS: Final = 0.15  # a faster gathering is not worth following

_BEGUN: Final = b"begun"
_OVER: Final = b"over"
# What `Gathering.begin` and `Gathering.add` are given.
_HEAD: Final = msgspec.msgpack.Decoder(tuple[FetchedFiles, float | None])
_PART: Final = msgspec.json.Decoder(tuple[int, SubjectDays | None])


class SharedGatherings:
    """Shares gatherings between the workers of one machine.

    A gathering `published` here is written to the ``log`` while another worker follows
    it. While a gathering of another worker is `followed` here, it is one of our
    ``gatherings``. Without a ``log`` nothing is shared.
    """

    def __init__(
        self,
        gatherings: Gatherings,
        log: SharedLog | None,
    ) -> None:
        self._gatherings = gatherings
        self._log = log
        self._followed: dict[bytes, _Followed] = {}

    def published(
        self, session: Session, key: bytes, gathering: Gathering
    ) -> AbstractContextManager[object]:
        """While the block runs, write the gathering to the log if others follow it."""
        if self._log is None:
            return nullcontext()
        return _Published(self._log, session, key, gathering)

    def followed(self, session: Session, key: bytes) -> AbstractContextManager[object]:
        """While the block runs, add another worker's gathering of this key to ours."""
        if self._log is None:
            return nullcontext()
        followed = self._followed.get(key)
        if followed is None:
            followed = _Followed(
                self._log, session, key, self._gatherings, self._followed.pop
            )
            self._followed[key] = followed
        return followed


class _Polling(ABC):
    """Calls `poll` every 0.15 s while any ``with`` block of it runs."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(_POLL_SECONDS, self._on_timer)
        self._polled = False
        self._blocks = 0

    def __enter__(self) -> None:
        self._blocks += 1

    def __exit__(self, *_: object) -> None:
        self._blocks -= 1
        if not self._blocks:
            self.end()

    def _on_timer(self) -> None:
        self._timer = self._loop.call_later(_POLL_SECONDS, self._on_timer)
        self._polled = True
        self.poll()

    @abstractmethod
    def poll(self) -> None:
        """Write or read the new steps."""

    def end(self) -> None:
        """Stop polling; poll a last time if it polled at all."""
        self._timer.cancel()
        if self._polled:
            self.poll()


class _Published(_Polling):
    """One of our gatherings. Its steps in the log: begun, the head, each part in the
    order of arrival, over.
    """

    def __init__(
        self,
        log: SharedLog,
        session: Session,
        key: bytes,
        gathering: Gathering,
    ) -> None:
        super().__init__()
        self._log = log
        self._owner = session.owner
        self._epoch = log.begin(session.owner)
        self._key = key
        self._gathering = gathering
        self._written = 0

    def poll(self) -> None:
        """Write the new steps, if another worker follows."""
        gathering = self._gathering
        if not self._log.is_followed(self._key, self._owner):
            return
        if not self._written:
            self._write(_BEGUN)
        if gathering.head is not None:
            if self._written == 1:
                head = gathering.head, gathering.oldest
                self._write(msgspec.msgpack.encode(head))
            for part in list(gathering.parts.items())[self._written - 2 :]:
                self._write(msgspec.json.encode(part))

    def end(self) -> None:
        """Write the remaining steps and the last one, over."""
        super().end()
        if self._written:
            self._written = 0
            self._write(_OVER)

    def _write(self, step: bytes) -> None:
        began_at, number = self._gathering.began_at, self._written
        self._log.write(self._key, self._owner, self._epoch, began_at, number, step)
        self._written += 1


class _Followed(_Polling):
    """A gathering of another worker, for a key that is requested here."""

    def __init__(
        self,
        log: SharedLog,
        session: Session,
        key: bytes,
        gatherings: Gatherings,
        on_end: Callable[[bytes], object],
    ) -> None:
        super().__init__()
        self._on_end = on_end
        self._log = log
        self._owner = session.owner
        self._key = key
        self._gatherings = gatherings
        self._asked = False
        self._gathering: Gathering | None = None
        self._read = 0
        self._among_ours = ExitStack()

    def poll(self) -> None:
        """Read the new steps, unless the key is gathered here."""
        if self._gatherings.get(self._key) is not self._gathering:
            self._leave()  # the other worker is gone, and this one gathers the key
            return
        if not self._asked:
            self._asked = True
            self._log.follow(self._key, self._owner)
        while (step := self._log.read(self._key, self._owner, self._read)) is not None:
            began_at, packed = step
            if self._gathering is None:
                if packed == _OVER:
                    return
                self._gathering = self._among_ours.enter_context(
                    self._gatherings.begin(self._key, began_at)
                )
            elif began_at < self._gathering.began_at:
                return  # a step of an earlier gathering
            elif began_at > self._gathering.began_at:
                self._leave()  # its worker is gone, and another has begun anew
                continue
            else:
                self._add(self._gathering, packed)
            self._read += 1

    def _add(self, gathering: Gathering, packed: bytes) -> None:
        """Add the step just read: the head first, then the parts."""
        if self._read == 1:
            gathering.begin(*_HEAD.decode(packed))
        else:
            gathering.add(*_PART.decode(packed))

    def _leave(self) -> None:
        """Remove the gathering from ours; read from the first step again."""
        self._among_ours.close()
        self._gathering = None
        self._read = 0

    def end(self) -> None:
        """Stop following, and remove the gathering from ours."""
        self._on_end(self._key)
        super().end()
        self._leave()
