# SPDX-License-Identifier: BSD-3-Clause
"""The frames of the demo and what a port should make of them: dissection, Toeplitz, frame maker, captures."""

import collections
import functools
import ipaddress
import pathlib
import struct
import tempfile

from demolib import DemoError
from demolib.machine import run

# ---- the expectation: dissection and Toeplitz

ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6 = 0x0806, 0x0800, 0x86DD
TPID_8021Q, TPID_8021AD = 0x8100, 0x88A8
HOPOPTS, ICMP, TCP, UDP, ROUTING, FRAGMENT, DSTOPTS = 0, 1, 6, 17, 43, 44, 60
# As far as the driver promises to look for a header; an IPv6 packet with more in front of it is "other".
IPV6_EXTENSIONS_MAX = 8
HEADER_WINDOW = 512

# Microsoft's RSS verification suite: "Verifying the RSS Hash Calculation", learn.microsoft.com
DEFAULT_KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
SUITE = (
    ("66.9.149.187", "161.142.100.80", None, 0x323E8FC2),
    ("66.9.149.187", "161.142.100.80", (2794, 1766), 0x51CCC178),
    ("3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", None, 0x2CC18CD5),
    ("3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", (2794, 1766), 0x40207D3D),
)


@functools.cache
def toeplitz(key, data):
    """For every bit set in `data`, most significant first, the 32 bits of the key that start at that place."""
    bits = len(key) * 8
    number = int.from_bytes(key, "big")
    result = 0
    for i in range(len(data) * 8):
        if data[i // 8] & 0x80 >> i % 8:
            result ^= number >> bits - 32 - i & 0xFFFFFFFF
    return result


def check_toeplitz():
    for source, destination, ports, expected in SUITE:
        data = packed(source) + packed(destination) + (struct.pack("!HH", *ports) if ports else b"")
        if toeplitz(DEFAULT_KEY, data) != expected:
            raise DemoError("this demo's own Toeplitz misses Microsoft's verification suite")


Dissection = collections.namedtuple("Dissection", "label hash_input")  # hash_input: None if not hashed


def u16(data, offset):
    return int.from_bytes(data[offset : offset + 2], "big")


def dissect(frame):
    """What a frame is called and what of it is hashed, with all RSS types on."""
    offset, tags, kind = 14, "", u16(frame, 12)
    if kind in (TPID_8021Q, TPID_8021AD):
        outer, kind, offset, tags = kind, u16(frame, 16), 18, ", VLAN"
        if outer == TPID_8021AD and kind == TPID_8021Q:
            kind, offset, tags = u16(frame, 20), 22, ", QinQ"
    ip = frame[offset:]
    if kind == ETHERTYPE_IPV4 and len(ip) >= 20 and ip[0] >> 4 == 4 and ip[0] & 15 >= 5:
        family, addresses = "IPv4", ip[12:20]
        protocol, l4 = ip[9], (ip[0] & 15) * 4
        fragment = u16(ip, 6) & 0x3FFF != 0
    elif kind == ETHERTYPE_IPV6 and len(ip) >= 40 and ip[0] >> 4 == 6:
        family, addresses = "IPv6", ip[8:40]
        protocol, l4 = ip[6], 40
        for _ in range(IPV6_EXTENSIONS_MAX):
            if protocol not in (HOPOPTS, ROUTING, DSTOPTS) or len(ip) < l4 + 8:
                break
            protocol, l4 = ip[l4], l4 + (ip[l4 + 1] + 1) * 8
        fragment = protocol == FRAGMENT
    else:
        return Dissection("not IP" + tags, frame[:12] + struct.pack("!H", kind))
    if fragment:
        return Dissection(f"{family} fragment{tags}", addresses)
    beyond = offset - (4 if tags else 0) + l4 > HEADER_WINDOW  # the kernel keeps the first tag beside the frame
    name, field = L4_FIELDS.get(protocol, (None, 0))
    if not name or len(ip) < l4 + field + 4 or beyond:
        return Dissection(f"{family} other{tags}", addresses)
    return Dissection(f"{family} {name}{tags}", addresses + ip[l4 + field : l4 + field + 4])


# What is hashed of a protocol's header: ports, or an SPI, at this place.
L4_FIELDS = {TCP: ("TCP", 0), UDP: ("UDP", 0), 132: ("SCTP", 0), 50: ("ESP", 0), 51: ("AH", 4)}


# ---- the frames

FlowKind = collections.namedtuple("FlowKind", "flows tags version protocol fragments")
MIX = (
    FlowKind(220, (), 4, TCP, False),
    FlowKind(180, (), 4, UDP, False),
    FlowKind(150, (), 6, TCP, False),
    FlowKind(130, (), 6, UDP, False),
    FlowKind(70, (TPID_8021Q,), 4, TCP, False),
    FlowKind(50, (TPID_8021Q,), 6, UDP, False),
    FlowKind(40, (TPID_8021AD, TPID_8021Q), 4, UDP, False),
    FlowKind(60, (), 4, UDP, True),
    FlowKind(60, (), 6, UDP, True),
    FlowKind(40, (), 4, ICMP, False),
)
MIX_FLOWS = sum(kind.flows for kind in MIX)
MIX_ARPS = 16  # what is not IP a port hashes by MAC addresses and EtherType
FRAMES_OF_A_FLOW = 2
FRAME_MIN, FRAME_MAX = 20, 1514  # that the veth pair carries, untagged


def packed(address):
    return ipaddress.ip_address(address).packed


def checksum(data):
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def put_u16(data, offset, value):
    return data[:offset] + struct.pack("!H", value) + data[offset + 2 :]


class FrameMaker:
    """Makes valid random frames to one destination. Each has a source MAC of its own, by which it is recognised."""

    def __init__(self, rng, destination):
        self.rng = rng
        self.destination = destination
        self.made = 0

    def mix(self):
        frames = [self.arp() for _ in range(MIX_ARPS)]
        for kind in MIX:
            for _ in range(kind.flows):
                frames += self.flow(kind)
        self.rng.shuffle(frames)
        return frames

    def arp(self):
        sender, target = self.rng.randbytes(4), self.rng.randbytes(4)
        header = struct.pack("!HHBBH", 1, ETHERTYPE_IPV4, 6, 4, 1)
        return self.frame((), ETHERTYPE_ARP, header + self.rng.randbytes(6) + sender + bytes(6) + target)

    def flow(self, kind):
        make_ip = self.ipv4 if kind.version == 4 else self.ipv6
        addresses = self.addresses(kind.version)
        ports = struct.pack("!HH", self.rng.randrange(1024, 65536), self.rng.randrange(1, 65536))
        if kind.fragments:
            return [self.frame(kind.tags, *packet) for packet in self.fragments(kind, make_ip, addresses, ports)]
        extended = self.rng.random() < 1 / 8  # IPv4 options, IPv6 extension headers
        return [
            self.frame(kind.tags, *make_ip(addresses, kind.protocol, self.l4(kind, addresses, ports, 0), extended))
            for _ in range(FRAMES_OF_A_FLOW)
        ]

    def addresses(self, version):
        if version == 4:
            return b"\x0a" + self.rng.randbytes(3), b"\xc0\xa8" + self.rng.randbytes(2)
        prefix = packed("2001:db8::")[:4]
        return prefix + self.rng.randbytes(12), prefix + self.rng.randbytes(12)

    def l4(self, kind, addresses, ports, least_payload):
        payload = self.rng.randbytes(self.rng.randrange(least_payload, 1400))
        if kind.protocol == ICMP:
            segment, field = bytes([8, 0, 0, 0]) + self.rng.randbytes(4) + payload, 2
            return put_u16(segment, field, checksum(segment))
        if kind.protocol == TCP:
            segment, field = ports + self.rng.randbytes(8) + struct.pack("!HHHH", 0x5010, 65535, 0, 0) + payload, 16
        else:
            segment, field = ports + struct.pack("!HH", 8 + len(payload), 0) + payload, 6
        pseudo = addresses[0] + addresses[1] + struct.pack("!II", len(segment), kind.protocol)
        return put_u16(segment, field, checksum(pseudo + segment) or 0xFFFF)

    def fragments(self, kind, make_ip, addresses, ports):
        """A datagram in three: only the first has the ports, all go where their addresses say."""
        segment = self.l4(kind, addresses, ports, 900)
        identification = self.rng.randrange(1, 65536)
        for start in (0, 400, 800):
            piece = segment[start : start + 400] if start < 800 else segment[start:]
            more = 1 if start < 800 else 0
            yield make_ip(addresses, kind.protocol, piece, False, (identification, start // 8, more))

    def ipv4(self, addresses, protocol, payload, extended, fragment=(0, 0, 0)):
        identification, offset, more = fragment
        options = bytes([7, 7, 4, 0, 0, 0, 0, 0]) if extended else b""  # record route, one free slot
        header = struct.pack(
            "!BBHHHBBH",
            0x45 + len(options) // 4,
            0,
            20 + len(options) + len(payload),
            identification,
            more << 13 | offset,
            64,
            protocol,
            0,
        )
        header += addresses[0] + addresses[1] + options
        return ETHERTYPE_IPV4, put_u16(header, 10, checksum(header)) + payload

    def ipv6(self, addresses, protocol, payload, extended, fragment=None):
        if fragment:
            identification, offset, more = fragment
            payload = struct.pack("!BBHI", protocol, 0, offset << 3 | more, identification) + payload
            protocol = FRAGMENT
        if extended:  # hop-by-hop options in front of destination options, each with six bytes of padding
            payload = bytes([DSTOPTS, 0, 1, 4, 0, 0, 0, 0]) + bytes([protocol, 0, 1, 4, 0, 0, 0, 0]) + payload
            protocol = HOPOPTS
        header = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64)
        return ETHERTYPE_IPV6, header + addresses[0] + addresses[1] + payload

    def frame(self, tags, ethertype, payload):
        self.made += 1
        source = b"\x02\0" + struct.pack("!I", self.made)
        tagged = b"".join(struct.pack("!HH", tpid, self.rng.randrange(1, 4095)) for tpid in tags)
        return (self.destination + source + tagged + struct.pack("!H", ethertype) + payload).ljust(60, b"\0")


# ---- captures

PCAP_MAGICS = {  # byte order and ticks per second
    b"\xd4\xc3\xb2\xa1": ("<", 10**6),
    b"\xa1\xb2\xc3\xd4": (">", 10**6),
    b"\x4d\x3c\xb2\xa1": ("<", 10**9),
    b"\xa1\xb2\x3c\x4d": (">", 10**9),
}
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
LINKTYPE_ETHERNET = 1


def write_pcap(path, packets):
    """`packets`: (microseconds since the epoch, frame)."""
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, LINKTYPE_ETHERNET))
        for when, frame in packets:
            file.write(struct.pack("<IIII", when // 10**6, when % 10**6, len(frame), len(frame)) + frame)


def read_pcap(path):
    data = path.read_bytes()
    if data[:4] == PCAPNG_MAGIC:
        with tempfile.TemporaryDirectory(prefix="tapflow-demo-") as directory:
            classic = pathlib.Path(directory, "classic.pcap")
            run("tcpdump", "-Z", "root", "-r", path, "-w", classic)
            data = classic.read_bytes()
    if data[:4] not in PCAP_MAGICS or len(data) < 24:
        raise DemoError(f"{path} is no pcap or pcapng file")
    order, ticks = PCAP_MAGICS[data[:4]]
    linktype = struct.unpack_from(order + "I", data, 20)[0] & 0x0FFFFFFF
    if linktype != LINKTYPE_ETHERNET:
        raise DemoError(f"{path} holds no Ethernet frames (its link type is {linktype})")
    packets, at = [], 24
    while at + 16 <= len(data):
        seconds, fraction, length, _ = struct.unpack_from(order + "IIII", data, at)
        frame = data[at + 16 : at + 16 + length]
        if len(frame) < length:
            break
        packets.append((seconds * 10**6 + fraction * 10**6 // ticks, frame))
        at += 16 + length
    return packets


def fits_the_wire(frame):
    """What an AF_PACKET socket sends on an interface with an MTU of 1500, and the kernel at the other end does not
    drop before anybody sees it: it takes a VLAN tag off only if the next EtherType is there (skb_vlan_untag())."""
    tag = 4 if u16(frame, 12) == TPID_8021Q else 0
    return FRAME_MIN <= len(frame) <= FRAME_MAX + tag
