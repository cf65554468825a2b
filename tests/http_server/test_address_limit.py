"""How many connections an address may hold."""

from hypothesis import given
from hypothesis import strategies as st

from aims_server.http_server.address_limit import AddressLimit
from aims_server.http_server.peer import Peer


def limit(most=2, exempt=()):
    """One with so many connections for each address."""
    return AddressLimit(most, exempt=lambda each: each.remote_ip in exempt)


def peer(address):
    """A client with this address."""
    return Peer(address, same_machine=False)


def test_each_address_has_its_own_count():
    """One at its limit takes nothing from another."""
    connections = limit()
    taken = [connections.try_take(peer("203.0.113.7")) for _ in range(3)]
    assert taken == [True, True, False]
    assert connections.try_take(peer("203.0.113.8"))


def test_a_closed_connection_makes_room():
    """After a connection is closed its address may have another one."""
    connections = limit()
    for _ in range(2):
        connections.try_take(peer("203.0.113.7"))
    connections.release(peer("203.0.113.7"))
    taken = [connections.try_take(peer("203.0.113.7")) for _ in range(2)]
    assert taken == [True, False]


def test_an_ipv6_address_counts_as_its_64():
    """The addresses of one customer are one client; the neighbour's are another."""
    connections = limit()
    assert connections.try_take(peer("2001:db8:0:1::1"))
    assert connections.try_take(peer("2001:db8:0:1:ffff::2"))
    assert not connections.try_take(peer("2001:db8:0:1::3"))
    assert connections.try_take(peer("2001:db8:0:2::1"))


def test_ipv4_in_ipv6_form_is_that_address():
    """It is counted by itself, not with all of IPv4 as one /64."""
    connections = limit()
    for _ in range(2):
        assert connections.try_take(peer("::ffff:203.0.113.7"))
    assert not connections.try_take(peer("203.0.113.7"))
    assert connections.try_take(peer("::ffff:203.0.113.8"))


def test_an_exempt_address_is_never_refused():
    """Its connections do not change another address's count either."""
    connections = limit(exempt={"2001:db8::1"})
    for _ in range(2):
        assert connections.try_take(peer("2001:db8::2"))
    assert connections.try_take(peer("2001:db8::1"))
    connections.release(peer("2001:db8::1"))
    assert not connections.try_take(peer("2001:db8::2"))


@given(
    st.lists(st.tuples(st.sampled_from(["203.0.113.1", "2001:db8::1"]), st.booleans()))
)
def test_the_count_is_that_of_what_is_open(steps):
    """An address is refused at the limit, and forgotten with its last connection."""
    connections, held = limit(3), {"203.0.113.1": 0, "2001:db8::1": 0}
    for address, opens in steps:
        if opens:
            assert connections.try_take(peer(address)) == (held[address] < 3)
            held[address] += held[address] < 3
        elif held[address]:
            connections.release(peer(address))
            held[address] -= 1
    for address, number in held.items():
        for _ in range(number):
            connections.release(peer(address))
    assert not connections._held
