"""Bodies that are large, packed, or packed badly."""

import gzip
from pathlib import Path

import pytest

from aims_server.errors import (
    UpstreamError,
)
from aims_server.upstream.transport.transport import MAX_BODY_BYTES

from .raw_server import answer, kind_of

pytestmark = pytest.mark.gen_test


async def test_a_body_may_have_eight_megabytes_and_no_more(get):
    """The bound is exact."""
    reply = await get(answer(b"x" * MAX_BODY_BYTES))
    assert len(reply.body) == MAX_BODY_BYTES
    with pytest.raises(UpstreamError) as caught:
        await get(answer(b"x" * (MAX_BODY_BYTES + 1)))
    assert caught.type is UpstreamError


class Memory:
    """This process's own, in megabytes, as the kernel counts it."""

    def __init__(self):
        # 5: forget the peak so far (proc_pid_clear_refs(5)).
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._before = self._read("VmRSS")

    @property
    def growth(self) -> float:
        """What is held more than at the beginning."""
        return self._read("VmRSS") - self._before

    @property
    def peak_growth(self) -> float:
        """What was held more at the worst moment since."""
        return self._read("VmHWM") - self._before

    def _read(self, field: str) -> float:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        line = next(line for line in lines if line.startswith(field))
        return int(line.split()[1]) / 1024


@pytest.mark.parametrize("kind", ["gzip_bomb", "endless", "huge_headers"])
async def test_a_hostile_body_costs_little_memory(ask, platform, kind):
    """300 MB out of 300 KB, a body without end, 2 MB of headers: refused in little
    time, and the memory is back where it was (docs/reliability.rst P31).
    """
    platform.faults.set("course_files", kind=kind, megabytes=300)
    with pytest.raises(UpstreamError):
        await ask()  # the first makes what is made only once
    memory = Memory()
    for _ in range(4):
        with pytest.raises(UpstreamError):
            await ask()
    assert memory.peak_growth < 20
    assert memory.growth < 10


# Packed answers.


def packed(body: bytes) -> bytes:
    """An answer whose body is this, said to be gzip."""
    return answer(body, "Content-Encoding: gzip")


async def test_a_packed_answer_may_have_several_members(get):
    """RFC 1952 allows it; both are the body."""
    reply = await get(packed(gzip.compress(b'{"a":') + gzip.compress(b"1}")))
    assert reply.body == b'{"a":1}'


async def test_an_empty_body_may_be_called_packed(get):
    """Servers do so with a 401 or a 204."""
    assert (await get(packed(b""))).body == b""


BADLY_PACKED = {
    "its last byte is missing": gzip.compress(b'{"a":1}')[:-1],
    "text behind it": gzip.compress(b'{"a":1}') + b"{}",
    "not packed": b'{"a":1}',
}


@pytest.mark.parametrize("body", BADLY_PACKED.values(), ids=BADLY_PACKED)
async def test_a_badly_packed_answer_is_none(get, body):
    """No part of it is taken for the whole, though its length is the promised one."""
    with pytest.raises(UpstreamError) as caught:
        await get(packed(body))
    assert caught.type is UpstreamError
    assert kind_of(caught.value) == "bad_gzip"


async def test_packed_twice_is_unknown(get):
    """Two codings, in one line or in two, are nothing that was asked for."""
    twice = gzip.compress(gzip.compress(b"{}"))
    for lines in (
        ["Content-Encoding: gzip, gzip"],
        ["Content-Encoding: gzip"] * 2,
        ["Content-Encoding: br"],
    ):
        with pytest.raises(UpstreamError) as caught:
            await get(answer(twice, *lines))
        assert kind_of(caught.value) == "unknown_encoding"


async def test_no_coding_by_any_name_is_none(get):
    """An empty list, and "identity", beside another one too, change nothing; nor does
    what programs in PHP take for one, to stop buffering or for a charset.
    """
    for coding in ("", "identity", "none", "UTF-8"):
        reply = await get(answer(b"{}", f"Content-Encoding: {coding}"))
        assert reply.body == b"{}"
    packed_once = answer(gzip.compress(b"{}"), "Content-Encoding: identity, gzip")
    assert (await get(packed_once)).body == b"{}"
