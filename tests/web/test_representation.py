"""An answer as ready bytes: its two forms, their tags, and how fresh it says it is."""

import asyncio
import contextlib
import gc
import gzip
import json
import threading
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aims_server.cache import freshness_lines
from aims_server.cache.store import Entry
from aims_server.web.headers import header_pairs
from aims_server.web.representation import (
    JSON_TYPE,
    make_answer,
    make_variant,
    matches,
    pack_answer,
    unpack_answer,
)
from aims_server.web.response import server_timing

SMALL = b'{"a":1}'
PAGE = json.dumps(
    [{"course": f"Course {n}", "present": n} for n in range(100)]
).encode()
LARGE = PAGE * 300


@pytest.fixture(name="page")
def _page(io_loop):
    return io_loop.run_sync(lambda: make_answer(PAGE))


@pytest.mark.gen_test
async def test_a_small_answer_has_one_form():
    """Under a packet's worth, gzip would win nothing."""
    answer = await make_answer(SMALL)
    assert answer.packed is None
    assert answer.variant("gzip") is answer.plain


@pytest.mark.gen_test
@pytest.mark.parametrize("body", [SMALL, PAGE, LARGE])
async def test_both_forms_are_the_same_answer(body):
    """Unpacked, the packed form is the plain one; each says its own length."""
    answer = await make_answer(body)
    for variant in (answer.plain, answer.packed or answer.plain):
        headers = dict(header_pairs(variant.block))
        packed = headers.get("Content-Encoding") == "gzip"
        assert (gzip.decompress(variant.body) if packed else variant.body) == body
        assert headers["Content-Length"] == str(len(variant.body))
        assert headers["Content-Type"] == "application/json; charset=utf-8"
        assert headers["ETag"] == variant.etag


@given(st.text(max_size=200), st.integers(1, 60))
def test_both_forms_say_the_same(text, times):
    """Plain and compressed body are equal, here and after a transfer."""
    body = json.dumps([text] * times).encode()
    # Not asyncio.run: it would take away the loop that other tests find.
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        answer = loop.run_until_complete(make_answer(body))
    for each in (answer, unpack_answer(pack_answer(answer))):
        assert each.plain.body == body
        assert each.plain.digest == each.kept.digest
        if each.packed:
            assert gzip.decompress(each.packed.body) == body


def test_a_page_is_kept_in_one_form(page):
    """The packed one; the plain form is made when it is asked for."""
    assert page.kept_plain is None
    assert page.size < len(PAGE)


def test_the_plain_form_is_made_once_for_who_asks_again(page):
    """A few are remembered, as long as their answers are kept."""
    assert page.plain is page.plain


def test_gzip_is_for_who_takes_it(page):
    """Everybody else gets the plain form."""
    assert page.variant("gzip, deflate") is page.packed
    assert len(page.packed.body) < len(PAGE) / 2
    for accepted in (None, "", "br", "gzip;q=0"):
        assert page.variant(accepted) is page.plain


def test_every_form_may_be_mixed_up_by_no_cache(page):
    """Whose answer it is, for which origin, in which encoding."""
    for variant in (page.plain, page.packed):
        vary = {
            name.strip()
            for name in dict(header_pairs(variant.block))["Vary"].split(",")
        }
        assert vary == {"Authorization", "Origin", "Accept-Encoding"}


@pytest.mark.gen_test
async def test_equal_bytes_have_equal_tags():
    """After a restart, and in another worker, the answer is still 304."""
    one, other = await make_answer(PAGE), await make_answer(PAGE)
    assert one == other
    assert (await make_answer(PAGE + b" ")).plain.etag != one.plain.etag


def test_the_forms_have_tags_of_their_own(page):
    """RFC 9110 8.8.3: a tag names one encoding; ours are weak ones."""
    assert page.plain.etag != page.packed.etag
    for variant in (page.plain, page.packed):
        assert variant.etag.startswith('W/"')
        assert variant.etag.endswith('"')


@pytest.mark.gen_test
async def test_only_large_answers_leave_the_loop():
    """A thread costs more than it saves below 512 KiB; above, no loop may wait."""
    # As sets: a thread of an earlier test's loop may end at any moment.
    before = {*threading.enumerate()}
    await make_answer(PAGE)
    assert {*threading.enumerate()} <= before
    await make_answer(LARGE)
    assert {*threading.enumerate()} - before


@pytest.mark.gen_test
async def test_a_large_answer_of_another_process_is_unpacked_in_a_thread():
    """It is, and only if a client does not take gzip."""
    answer = unpack_answer(pack_answer(await make_answer(LARGE)))
    assert answer.is_large
    assert answer.kept_plain is None
    assert await answer.at_hand("gzip") is answer
    unpacked = await answer.at_hand("identity")
    assert unpacked.kept_plain is not None
    assert unpacked.kept_plain.body == LARGE
    assert not unpacked.is_large


@pytest.mark.gen_test
async def test_a_small_answer_is_at_hand_in_either_form(page):
    """To unpack it takes less time than a thread would."""
    assert await page.at_hand("identity") is page


# Conditions.


def test_the_tag_matches_itself_only(page):
    """A client that holds the plain form has not got the packed one."""
    assert matches(page.plain.etag, page.plain)
    assert not matches(page.plain.etag, page.packed)
    assert not matches(page.packed.etag, page.plain)


def test_matching_is_weak(page):
    """RFC 9110 13.1.2: `W/` does not count, proxies take it off or put it on."""
    assert matches(page.plain.etag.removeprefix("W/"), page.plain)


def test_a_tag_among_others_matches(page):
    """A tag in a list matches, and so does the star."""
    assert matches(f'"a", W/"b",{page.plain.etag}', page.plain)
    assert matches("*", page.plain)


@pytest.mark.parametrize("condition", ['"a,*,b"', "W/*", '"a", *', '"*"'])
def test_only_a_lone_star_is_the_star(page, condition):
    """A tag may hold commas and stars (RFC 9110 8.8.3)."""
    assert not matches(condition, page.plain)


def test_a_tag_with_commas_hides_none(page):
    """What stands beside it is read."""
    assert matches(f'"a,b", {page.plain.etag}', page.plain)


@given(st.none() | st.text(max_size=40))
def test_nothing_else_matches(condition):
    """A condition that does not name the tag never yields a 304."""
    variant = make_variant(b"{}", "0123456789abcdef01234567", JSON_TYPE, ())
    if "*" not in (condition or ""):
        assert not matches(condition, variant)


@pytest.mark.parametrize("condition", ['W/"', '"', "W/", ",", '""', 'W/""'])
def test_a_broken_condition_matches_nothing(page, condition):
    """It is not for us to guess what was meant."""
    assert not matches(condition, page.plain)


# Freshness.


def headers_at(now: float, *, fresh_until=1300.0, servable_until=3100.0):
    """The headers at a moment of an answer that was made at 1000."""
    # What is kept plays no part here, so nothing is: hence the type that is ignored.
    entry = Entry(None, 0, b"owner", 1000.0, fresh_until, servable_until)
    lines = freshness_lines(entry, "HIT", now)  # type: ignore[arg-type]  # see above
    return dict(header_pairs(lines))


@pytest.mark.parametrize(
    ("now", "age", "cache_control"),
    [
        (1000.0, "0", "private, max-age=300, stale-while-revalidate=1800"),
        (1000.9, "0", "private, max-age=299, stale-while-revalidate=1800"),
        (1299.0, "299", "private, max-age=1, stale-while-revalidate=1800"),
        (1300.0, "300", "private, max-age=0, stale-while-revalidate=1800"),
        (2000.0, "1000", "private, max-age=0, stale-while-revalidate=1100"),
        (3100.0, "2100", "private, max-age=0, stale-while-revalidate=0"),
        (9999.0, "8999", "private, max-age=0, stale-while-revalidate=0"),
    ],
)
def test_freshness_runs_out_with_time(now, age, cache_control):
    """What is left of the fresh time, then of the stale time, and how old it is."""
    headers = headers_at(now)
    assert headers == {"X-Cache": "HIT", "Age": age, "Cache-Control": cache_control}


def test_a_dying_token_shortens_both_times():
    """No browser may use an answer beyond the token's own end."""
    headers = headers_at(1000.0, fresh_until=1010.0, servable_until=1010.0)
    assert headers["Cache-Control"] == "private, max-age=10, stale-while-revalidate=0"


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_browser_never_keeps_longer_than_we_do(now, fresh, stale):
    """Fresh time is rounded down, all in whole seconds, nothing negative."""
    end = 1000.0 + fresh
    headers = headers_at(now, fresh_until=end, servable_until=end + stale)
    numbers = [int(text) for text in (
        headers["Age"],
        headers["Cache-Control"].split("max-age=")[1].split(",")[0],
        headers["Cache-Control"].split("revalidate=")[1],
    )]  # fmt: skip
    assert min(numbers) >= 0
    assert numbers[1] <= max(0.0, end - now)
    assert numbers[2] <= stale + 1


@pytest.mark.parametrize(
    ("cache", "upstream", "told"),
    [
        (None, None, "total;dur=1500.0"),
        ("HIT", None, 'cache;desc="HIT", total;dur=1500.0'),
        ("MISS", 1.2346, 'cache;desc="MISS", upstream;dur=1234.6, total;dur=1500.0'),
    ],
)
def test_server_timing_tells_the_parts_that_there_were(cache, upstream, told):
    """The cache's, the platform's and the whole, in milliseconds."""
    assert server_timing(1.5, cache, upstream) == told


# Memory.


@pytest.mark.gen_test
@pytest.mark.parametrize("body", [SMALL, PAGE, LARGE])
async def test_the_size_is_what_memory_it_holds(body):
    """The store counts in bytes: what it is told is never less, nor a quarter more."""
    kept = []
    number = 60
    bodies = [body + b" %d" % n for n in range(number)]
    # Together, so that the threads for large ones are there.
    await asyncio.gather(*map(make_answer, bodies[:10]))
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for each in bodies:
            kept.append(await make_answer(bytes(bytearray(each))))
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    held = (after - before) / number
    told = sum(answer.size for answer in kept) / number
    assert held < told < held * 1.25


@pytest.mark.gen_test
@pytest.mark.parametrize("size", [10, 5000])
@pytest.mark.parametrize(
    "options", [{}, {"content_type": ("Content-Type", "text/x"), "by_accept": True}]
)
async def test_an_answer_is_unpacked_as_it_was_packed(size, options):
    """Bodies, headers and tags come back, whatever form is kept."""
    answer = await make_answer(b'{"at":"now","x":"' + b"y" * size + b'"}', **options)
    assert unpack_answer(pack_answer(answer)) == answer


@pytest.mark.gen_test
async def test_half_an_answer_is_not_unpacked():
    """What was not packed so raises ValueError and nothing else."""
    packed = pack_answer(await make_answer(b"y" * 5000))
    for cut in (0, 1, 20, len(packed) - 1):
        with pytest.raises(ValueError, match=r"."):
            unpack_answer(packed[:cut])
