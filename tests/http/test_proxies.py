"""Who the client is: only what trusted proxies say is believed."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from x121.http.proxies import MAX_HOPS, forwarded_for, trusted_proxy_check

TRUSTED = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "192.0.2.1", "fd00::/8")]
is_trusted = trusted_proxy_check(TRUSTED)
PEER = "10.0.0.1"


def client(*values: str) -> str:
    """Return the client that these X-Forwarded-For fields name."""
    return forwarded_for([value.encode("latin-1") for value in values], PEER, is_trusted)


class TrustTests(SynchronousTestCase):
    """``trusted_proxy_check``."""

    def test_networks(self) -> None:
        """An address in one of the networks is trusted, and no other."""
        for address in ("10.0.0.0", "10.255.255.255", "192.0.2.1", "fd00::1"):
            self.assertTrue(is_trusted(address), address)
        for address in ("11.0.0.0", "192.0.2.2", "fc00::1", "::", "0.0.0.0"):
            self.assertFalse(is_trusted(address), address)

    def test_nobody(self) -> None:
        """Without networks nobody is trusted."""
        self.assertFalse(trusted_proxy_check([])("127.0.0.1"))

    def test_ipv4_in_ipv6(self) -> None:
        """An IPv4 address that came over an IPv6 socket counts as IPv4."""
        self.assertTrue(is_trusted("::ffff:10.0.0.1"))
        self.assertFalse(is_trusted("::ffff:11.0.0.1"))

    def test_zone(self) -> None:
        """The zone of a link-local address, which a socket's peer has, doesn't count."""
        self.assertTrue(trusted_proxy_check([ipaddress.ip_network("fe80::/10")])("fe80::1%eth0"))

    def test_no_address(self) -> None:
        """What is no address is nobody: a UNIX socket, a name, a number, nothing."""
        for text in ("", "unix", "localhost", "10", "10.0.0", "010.0.0.1", "10.0.0.1:80", "\0"):
            self.assertFalse(is_trusted(text), text)


class ForwardedForTests(SynchronousTestCase):
    """``forwarded_for``, called by a trusted peer."""

    def test_last_untrusted(self) -> None:
        """Read from the right, the first address that is no trusted proxy is the client."""
        self.assertEqual(client("203.0.113.9"), "203.0.113.9")
        self.assertEqual(client("203.0.113.9, 10.0.0.2, 192.0.2.1"), "203.0.113.9")
        self.assertEqual(client("1.1.1.1, 203.0.113.9, 10.0.0.2"), "203.0.113.9")

    def test_several_fields(self) -> None:
        """Several fields are one list."""
        self.assertEqual(client("1.1.1.1", "203.0.113.9", "10.0.0.2"), "203.0.113.9")

    def test_all_trusted(self) -> None:
        """Where all are trusted, the farthest is the client."""
        self.assertEqual(client("10.0.0.3, 10.0.0.2"), "10.0.0.3")

    def test_nothing_said(self) -> None:
        """Without addresses the client is the peer."""
        for values in ((), ("",), (",",), ("unknown",), ("_hidden, ",)):
            self.assertEqual(client(*values), PEER)

    def test_no_address_ends_the_search(self) -> None:
        """What isn't an address ends the search: what stands left of it is not believed."""
        self.assertEqual(client("203.0.113.9, junk, 10.0.0.2"), "10.0.0.2")
        self.assertEqual(client("203.0.113.9,, 10.0.0.2"), "10.0.0.2")

    def test_port(self) -> None:
        """A port, which may be obfuscated, is not a part of the address (RFC 7239 section 6)."""
        for node in ("203.0.113.9:4711", "203.0.113.9:_p-1"):
            self.assertEqual(client(node), "203.0.113.9")
        for node in ("[2001:db8::1]:443", "[2001:DB8::1]", "2001:db8::1"):
            self.assertEqual(client(node), "2001:db8::1")
        self.assertEqual(client("[::ffff:203.0.113.9]:443"), "203.0.113.9")
        self.assertEqual(client("203.0.113.9, 10.0.0.2:80"), "203.0.113.9")

    def test_no_port(self) -> None:
        """What has the form of no node is no address."""
        nodes = (
            "203.0.113.9:", "203.0.113.9:x", "203.0.113.9:123456", "203.0.113.9:1:2",
            "[203.0.113.9]:80", "[2001:db8::1", "2001:db8::1]:443", "[]:443", "[2001:db8::1]443",
            "unknown", "unknown:80", "_hidden", "_SEVKISEK:80", "[unknown]",
        )  # fmt: skip
        for node in nodes:
            self.assertEqual(client(node), PEER, node)

    def test_many_hops(self) -> None:
        """No more than a bounded number of nodes is read."""
        nearest = [f"10.0.1.{number}" for number in range(MAX_HOPS)]
        self.assertEqual(client(", ".join(nearest)), "10.0.1.0")
        self.assertEqual(client(", ".join(["203.0.113.9", *nearest[1:]])), "203.0.113.9")
        for rest in ("203.0.113.9", "fe80::1%x, 203.0.113.9", ", , "):
            self.assertEqual(client(", ".join([rest, *nearest])), "10.0.1.0")

    def test_cost(self) -> None:
        """A field of any length asks about a bounded number of addresses."""
        asked: list[str] = []

        def counting(address: str) -> bool:
            asked.append(address)
            return True

        forwarded_for([b"::1," * 7_750 + b"::1"], PEER, counting)
        self.assertEqual(asked, ["::1"] * MAX_HOPS)

    def test_ipv6(self) -> None:
        """IPv6 addresses are given in their usual form, and IPv4 in them as IPv4."""
        self.assertEqual(client("2001:DB8:0::1"), "2001:db8::1")
        self.assertEqual(client("::ffff:203.0.113.9"), "203.0.113.9")

    def test_zone(self) -> None:
        """A zone, which may be any text, is not passed on to the log."""
        self.assertEqual(client("fe80::1%x status=200"), "fe80::1")

    @given(st.lists(st.ip_addresses().map(str) | st.text(st.characters(codec="latin-1"))))
    def test_always_an_address(self, entries: list[str]) -> None:
        """Whatever the fields hold, the client is an address in its usual form."""
        found = client(", ".join(entries))
        self.assertEqual(str(ipaddress.ip_address(found)), found)
        self.assertNotIn("%", found)

    @given(
        st.lists(st.ip_addresses(v=4).map(str)),
        st.ip_addresses(v=4, network="203.0.113.0/24").map(str),
        st.lists(st.ip_addresses(v=4, network="10.0.0.0/8").map(str), max_size=MAX_HOPS - 1),
    )
    def test_forgery(self, forged: list[str], real: str, proxies: list[str]) -> None:
        """Nothing that a client sends itself changes who it is."""
        self.assertEqual(client(", ".join([*forged, real, *proxies])), real)
