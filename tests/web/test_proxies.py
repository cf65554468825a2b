"""The client's address: the socket's peer, or what trusted proxies forward."""

import ipaddress

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aims_server.web.proxies import client_address, is_trusted

ADDRESSES = st.ip_addresses().map(str)
PROXIES = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]


@given(ADDRESSES, st.lists(st.text(max_size=20), max_size=4))
@settings(max_examples=50)
def test_without_proxies_only_the_socket_counts(peer, forwarded_for):
    """A client may write what it likes: its socket's address is what it is."""
    assert client_address(peer, forwarded_for, []) == peer


@given(ADDRESSES, st.lists(ADDRESSES, max_size=4))
@settings(max_examples=50)
def test_only_a_trusted_peer_is_believed(peer, forwarded_for):
    """`X-Forwarded-For` from anybody else changes nothing."""
    assume(ipaddress.ip_address(peer) not in PROXIES[0])
    assume(ipaddress.ip_address(peer) not in PROXIES[1])
    header = [", ".join(forwarded_for)]
    assert client_address(peer, header, PROXIES) == client_address(peer, [], PROXIES)


@given(
    made_up=st.lists(st.text(st.characters(exclude_categories=["C"]), max_size=20)),
    client=st.ip_addresses(v=4).filter(lambda address: address not in PROXIES[0]),
    proxies=st.lists(st.sampled_from(["10.0.0.1", "10.9.8.7", "fd00::1"]), max_size=3),
    cut=st.integers(0, 5),
)
@settings(max_examples=50)
def test_the_right_most_stranger_is_the_client(made_up, client, proxies, cut):
    """What stands left of the address that our proxies wrote proves nothing, however
    the hops are spread over header lines.
    """
    hops = [*made_up, str(client), *proxies]
    lines = [", ".join(hops[:cut]), ", ".join(hops[cut:])]
    lines = [line for line in lines if line]
    assert client_address("10.0.0.2", lines, PROXIES) == str(client)


@pytest.mark.parametrize("header", [[], [""], [","], ["unknown"], ["1.2.3.4:80:90"]])
def test_a_hop_that_is_no_address_ends_the_search(header):
    """The last address that was proven stands; nothing is guessed."""
    assert client_address("10.0.0.1", header, PROXIES) == "10.0.0.1"


def test_all_proxies_is_the_farthest_of_them():
    """A request from within the trusted networks is its first hop's."""
    header = ["10.0.0.9, 10.0.0.8"]
    assert client_address("10.0.0.1", header, PROXIES) == "10.0.0.9"


@pytest.mark.parametrize("lines", [1, 300])
def test_a_chain_without_end_is_not_followed_to_it(lines):
    """32 KiB of trusted addresses would hold the loop for a quarter of a second."""
    header = ["203.0.113.7", *[",".join(["10.0.0.9"] * (900 // lines))] * lines]
    assert client_address("10.0.0.1", header, PROXIES) == "10.0.0.9"


def test_an_ipv4_peer_in_ipv6_form_is_the_same_proxy():
    """A dual-stack socket's spelling of a trusted proxy is trusted too."""
    header = ["192.0.2.7"]
    assert client_address("::ffff:10.0.0.1", header, PROXIES) == "192.0.2.7"


def test_one_client_has_one_spelling():
    """Behind a proxy, IPv4 in IPv6 form and long IPv6 forms count as the short one."""
    spellings = ["192.0.2.7", "::ffff:192.0.2.7", "::FFFF:c000:207"]
    found = {client_address("10.0.0.1", [each], PROXIES) for each in spellings}
    assert found == {"192.0.2.7"}
    assert client_address("10.0.0.1", ["2001:DB8:0::1"], PROXIES) == "2001:db8::1"


def test_a_peer_without_address_is_left_as_it_is():
    """A unix socket's peer has none; that is no reason to believe a header."""
    assert client_address("", ["192.0.2.7"], PROXIES) == ""


@pytest.mark.parametrize(
    ("member", "address"),
    [
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:DB8:0::1]:4711", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[::ffff:203.0.113.7]:80", "203.0.113.7"),
        ("[fe80::1%eth0]:80", "fe80::1"),
        (f"fe80::1%{'z' * 7000}", "fe80::1"),
    ],
)
def test_ports_and_brackets_are_read_over(member, address):
    """Some proxies write them (RFC 7239 6 has the form); they are no part of it, nor is
    the zone of a link elsewhere, which may be of any length.
    """
    assert client_address("10.0.0.1", [member], PROXIES) == address
    hops = [f"192.0.2.9, {member}, 10.0.0.2:80, [fd00::3]:80"]
    assert client_address("10.0.0.1", hops, PROXIES) == address


@pytest.mark.parametrize(
    "header",
    [["203.0.113.7,"], [", 203.0.113.7 ,,"], ["192.0.2.9,203.0.113.7, ,10.0.0.2", ""]],
)
def test_empty_members_of_the_list_are_ignored(header):
    """They are, as in every list of HTTP (RFC 9110 5.6.1), and end no search."""
    assert client_address("10.0.0.1", header, PROXIES) == "203.0.113.7"


@pytest.mark.parametrize(
    "member",
    [
        "203.0.113.7:", "203.0.113.7:x", "203.0.113.7:123456", "[2001:db8::1",
        "2001:db8::1]", "[203.0.113.7", "[]", "[]:80", ":80", "[2001:db8::1]x",
        "203.0.113.7 :80", "unix", "_hidden",
    ],
)  # fmt: skip
def test_half_an_address_is_none(member):
    """The proxy that wrote it is the last proven hop."""
    assert client_address("10.0.0.1", [member], PROXIES) == "10.0.0.1"


def test_a_unix_peer_is_trusted_by_its_name():
    """With "unix" among the proxies its header is believed, otherwise not."""
    header = ["192.0.2.9, 203.0.113.7"]
    assert client_address("unix", header, ["unix"]) == "203.0.113.7"
    assert client_address("unix", header, ["unix", *PROXIES]) == "203.0.113.7"
    assert client_address("unix", header, PROXIES) == "unix"
    assert client_address("203.0.113.9", header, ["unix"]) == "203.0.113.9"


def test_a_unix_peer_is_the_sockets_alone():
    """In a header, which a client may write, its name is no address."""
    assert client_address("unix", ["203.0.113.7, unix"], ["unix"]) == "unix"


def test_a_peer_is_trusted_or_not():
    """Its network or its name decides, in whatever spelling."""
    assert is_trusted("10.1.2.3", PROXIES)
    assert is_trusted("::ffff:10.1.2.3", PROXIES)
    assert not is_trusted("", PROXIES)
    assert is_trusted("unix", ["unix"])
    assert not is_trusted("unix", PROXIES)
    assert not is_trusted("203.0.113.7", ["unix", *PROXIES])
