#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs Debian's dpdk-testpmd on the driver, sends it traffic and compares every packet with what it should be.

Nothing here is shared with the driver: the frames, their dissection and the Toeplitz hash are the demo's own."""

import argparse
import contextlib
import hashlib
import itertools
import os
import pathlib
import random
import shutil
import signal
import socket
import stat
import struct
import sys
import tempfile
import threading
import time

# The demo runs as root: it leaves no root's __pycache__ in its user's repository.
sys.dont_write_bytecode = True

from demolib import DEADLINE, QUEUES, RETA_SLOTS, DemoError
from demolib.frames import (
    FRAME_MAX,
    FRAME_MIN,
    MIX_FLOWS,
    FrameMaker,
    check_toeplitz,
    dissect,
    fits_the_wire,
    read_pcap,
    write_pcap,
)
from demolib.machine import Namespace, Rss, Testpmd, configure_rss, connect_namespaces, run
from demolib.report import Report, compare, heading

# Frames on their way at a time: 256 of 1,514 bytes fit into one queue's ring (1 MiB) and into the kernel's backlog.
WINDOW = 256
IMBALANCE_LIMIT = 1.25  # fullest queue over the mean; 1,000 random flows on 4 queues stay below by 4 sigma
TRANSFER_BYTES = 64 << 20
REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


# ---- the session


def tcp_exchange(addresses, namespaces, ports, rng):
    """A connection with a request and a larger response; one thread does both ends, as all of it fits the buffers."""
    family = socket.AF_INET6 if ":" in addresses[0] else socket.AF_INET
    with (
        namespaces[0].socket(family, socket.SOCK_STREAM) as listener,
        namespaces[1].socket(family, socket.SOCK_STREAM) as client,
    ):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((addresses[0], ports[0]))
        listener.listen()
        client.bind((addresses[1], ports[1]))
        client.connect((addresses[0], ports[0]))
        server, _ = listener.accept()
        with server:
            server.settimeout(DEADLINE)
            for sender, receiver, size in ((client, server, 300), (server, client, rng.randrange(1000, 12000))):
                sender.sendall(rng.randbytes(size))
                while size > 0:
                    size -= len(receiver.recv(65536)) or size
        while client.recv(65536):
            pass


def udp_exchange(addresses, namespaces, ports, rng):
    family = socket.AF_INET6 if ":" in addresses[0] else socket.AF_INET
    with (
        namespaces[0].socket(family, socket.SOCK_DGRAM) as server,
        namespaces[1].socket(family, socket.SOCK_DGRAM) as client,
    ):
        server.bind((addresses[0], ports[0]))
        client.bind((addresses[1], ports[1]))
        client.sendto(rng.randbytes(rng.randrange(30, 80)), (addresses[0], ports[0]))
        _, back = server.recvfrom(65536)
        server.sendto(rng.randbytes(rng.randrange(60, 1200)), back)
        client.recv(65536)


def read_capture(sniffer):
    """All frames that an AF_PACKET socket has seen, with the kernel's timestamps."""
    packets = []
    sniffer.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            frame, ancillary, *_ = sniffer.recvmsg(1 << 16, 64)
            seconds, microseconds = struct.unpack("qq", ancillary[0][2][:16])
            packets.append((seconds * 10**6 + microseconds, frame))
    return packets


def record_capture(dut, peer, rng):
    """Real TCP and UDP, IPv4 and IPv6, between the kernels of the namespaces over a veth pair made for that."""
    connect_namespaces(dut, "rec0", peer, "rec1")
    pairs = ("198.51.100.1", "198.51.100.2"), ("2001:db8:1::1", "2001:db8:1::2")
    for namespace, name, index in ((dut, "rec0", 0), (peer, "rec1", 1)):
        namespace.sysctl(f"ipv6/conf/{name}/disable_ipv6", 0)
        namespace.ip("addr", "add", pairs[0][index] + "/24", "dev", name)
        namespace.ip("addr", "add", pairs[1][index] + "/64", "dev", name, "nodad")
        # What is captured is what goes over a wire: packets of MTU size with whole checksums.
        offloads = [word for feature in ("tx", "sg", "tso", "gso", "gro") for word in (feature, "off")]
        run("ip", "netns", "exec", namespace.name, "ethtool", "-K", name, *offloads)
    so_rcvbufforce, so_timestamp, eth_p_all = 33, 29, 3
    with peer.packet_socket("rec1") as sniffer:
        sniffer.setsockopt(socket.SOL_SOCKET, so_rcvbufforce, 32 << 20)
        sniffer.setsockopt(socket.SOL_SOCKET, so_timestamp, 1)
        sniffer.bind(("rec1", eth_p_all))
        numbers = rng.sample(range(20000, 30000), 96)
        for i, number in enumerate(numbers):
            exchange, port = (tcp_exchange, 80) if i % 2 else (udp_exchange, 53)
            exchange(pairs[i // 2 % 2], (dut, peer), (port, number), rng)
        packets = read_capture(sniffer)
    dut.ip("link", "del", "rec0")
    return packets


class Demo:
    def __init__(self, options):
        self.options = options
        self.rng = random.Random(options.seed)
        self.report = Report()

    def run(self, stack):
        start = time.monotonic()
        check_toeplitz()
        self.dut, self.peer = Namespace(stack, "dut"), Namespace(stack, "peer")
        print(f"tapflow demo, seed {self.options.seed}, rx={self.options.rx}\n")
        print("   namespace peer               namespace dut")
        print(f"   wire ===== veth pair ======= eth3 --- net_tap0 --- testpmd, {QUEUES} Rx queues")
        packets = self.capture()
        connect_namespaces(self.dut, "eth3", self.peer, "wire")
        self.directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tapflow-demo-")))
        with contextlib.ExitStack() as inner:
            self.show_queues(inner, packets)
        with contextlib.ExitStack() as inner:
            self.show_forwarding(inner)
        return self.report.verdict(time.monotonic() - start)

    def vdev(self, arguments):
        return f"{arguments},rx={self.options.rx}"

    def capture(self):
        if not self.options.pcap:
            return record_capture(self.dut, self.peer, self.rng)
        packets = read_pcap(self.options.pcap)
        usable = [(when, frame) for when, frame in packets if fits_the_wire(frame)]
        if not usable:
            raise DemoError(f"{self.options.pcap} holds no frame of {FRAME_MIN} to {FRAME_MAX} bytes")
        if len(usable) < len(packets):
            left_out = len(packets) - len(usable)
            print(f"\n{left_out} frames of the capture are left out: under {FRAME_MIN} or over {FRAME_MAX} bytes")
        return usable

    # -- which queue, which hash

    def show_queues(self, stack, packets):
        testpmd = Testpmd(
            stack,
            self.dut,
            self.options.plugin,
            [self.vdev("net_tap0,iface=tap0,remote=eth3")],
            ["--rx-offloads=0x80000"],  # RTE_ETH_RX_OFFLOAD_RSS_HASH
        )
        rss = configure_rss(testpmd)
        testpmd.command("set fwd rxonly")
        testpmd.command("set verbose 1")
        testpmd.command("start")
        with self.peer.packet_socket("wire") as sender:

            def send(frames):
                for frame in frames:
                    sender.send(frame)

            frames = FrameMaker(self.rng, self.dut.mac("eth3")).mix()
            flows = {found.hash_input for found in map(dissect, frames) if found.label != "not IP"}
            self.report.check(len(flows) == MIX_FLOWS, f"the mix has {len(flows)} flows instead of {MIX_FLOWS}")
            heading(f"1. {len(flows):,} flows through the port, default key and table")
            self.traffic(testpmd, "mix", frames, rss, send, IMBALANCE_LIMIT)

            reta = [slot % QUEUES for slot in range(RETA_SLOTS)]
            self.rng.shuffle(reta)
            rss = configure_rss(testpmd, Rss(self.rng.randbytes(len(rss.key)), reta))
            heading("2. The same frames, with a random key and table set while the port runs")
            self.traffic(testpmd, "mix, other key", frames, rss, send, IMBALANCE_LIMIT)

        name = self.options.pcap.name if self.options.pcap else "real TCP and UDP"
        heading(f"3. A capture ({name}) replayed by tcpreplay, random key and table")
        unplayed = iter(packets)

        def replay(frames):
            path = self.directory / "replay.pcap"
            write_pcap(path, itertools.islice(unplayed, len(frames)))
            run("ip", "netns", "exec", self.peer.name, "tcpreplay", "-q", "--topspeed", "-i", "wire", path)

        self.traffic(testpmd, "capture", [frame for _, frame in packets], rss, replay)
        testpmd.command("set verbose 0")
        status = testpmd.quit()
        self.report.check(status == 0, f"testpmd ended with status {status}")

    def traffic(self, testpmd, name, frames, rss, send, limit=None):
        """Sends frames a window at a time, so that none can be lost for want of room, and compares."""
        testpmd.packets = []
        testpmd.command("clear port stats 0")
        for start in range(0, len(frames), WINDOW):
            window = frames[start : start + WINDOW]
            send(window)
            if not testpmd.wait_for_packets(start + len(window)):
                sent = start + len(window)
                print(f"  {sent:,} frames sent, only {len(testpmd.packets):,} arrived: the rest is not sent\n")
                break
        stats = testpmd.stats(0)
        compare(self.report, name, frames, rss, testpmd.packets, stats, limit)
        if drops := testpmd.drops(0):
            print(f"  the port counts: {drops}")

    # -- forwarding

    def show_forwarding(self, stack):
        heading("4. TCP between the namespaces, through testpmd forwarding between two ports")
        print("   peer: wire === eth3 --- net_tap0 --- testpmd io --- net_tap1 --- tap1 :dut\n", flush=True)
        ports = [self.vdev("net_tap0,iface=tap0,remote=eth3"), self.vdev("net_tap1,iface=tap1")]
        # Rings of 8 MiB, as the kernel's TCP window grows to 6 MiB: a smaller one is full now and then, which costs
        # no more than some segments sent again.
        testpmd = Testpmd(stack, self.dut, self.options.plugin, ports, ["--rxd=4096"])
        self.dut.sysctl("ipv4/conf/eth3/arp_ignore", 1)  # eth3 has no address: tap1's is not its to answer for
        addresses = {self.dut: "192.0.2.1", self.peer: "192.0.2.2"}
        self.dut.ip("addr", "add", addresses[self.dut] + "/24", "dev", "tap1")
        self.peer.ip("addr", "add", addresses[self.peer] + "/24", "dev", "wire")
        testpmd.command("set fwd io")
        testpmd.command("start")
        data = self.rng.randbytes(TRANSFER_BYTES)
        for name, source, target in (("dut to peer", self.dut, self.peer), ("peer to dut", self.peer, self.dut)):
            testpmd.command("clear port stats all")
            try:
                took, digest, again = transfer(source, target, addresses[target], data)
            except OSError as error:
                self.report.check(False, f"TCP {name}: {error}")
                print(f"  {name}   broken off: {error}")
                continue
            same = digest == hashlib.sha256(data).digest()
            self.report.check(same, f"TCP {name}: other bytes arrived than were sent")
            inward = testpmd.stats(1 if source is self.dut else 0)
            self.report.check(
                inward["RX-bytes"] > len(data), f"TCP {name}: testpmd received only {inward['RX-bytes']} bytes"
            )
            print(
                f"  {name}   {len(data) >> 20} MiB {len(data) / took / 1e6:7.0f} MB/s   "
                f"{inward['RX-packets']:,} packets, {again} resent   sha256 {'equal' if same else 'DIFFERS'}",
                flush=True,
            )
        status = testpmd.quit()
        self.report.check(status == 0, f"testpmd ended with status {status}")


def transfer(source, target, address, data):
    """Sends `data` over TCP. Returns seconds, the SHA-256 of what arrived, and how many segments were resent."""
    digest = hashlib.sha256()
    failure = []

    def receive(listener):
        buffer = memoryview(bytearray(1 << 20))
        try:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(DEADLINE)
                while length := connection.recv_into(buffer):
                    digest.update(buffer[:length])
        except OSError as error:
            failure.append(error)

    with (
        target.socket(socket.AF_INET, socket.SOCK_STREAM) as listener,
        source.socket(socket.AF_INET, socket.SOCK_STREAM) as sender,
    ):
        listener.bind((address, 5001))
        listener.listen()
        receiver = threading.Thread(target=receive, args=(listener,), daemon=True)
        receiver.start()
        start = time.monotonic()
        sender.connect((address, 5001))
        sender.sendall(data)
        sender.shutdown(socket.SHUT_WR)
        receiver.join()
        took = time.monotonic() - start
        # tcpi_total_retrans of struct tcp_info, <linux/tcp.h>
        again = struct.unpack_from("I", sender.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 100)[0]
    if failure:
        raise failure[0]
    return took, digest.digest(), again


# ---- what the machine must have


def check_machine(options):
    if os.geteuid() != 0:
        raise DemoError("run as root: the demo makes network namespaces and loads BPF programs")
    try:
        with open("/dev/net/tun", "rb"):
            pass
    except OSError as error:
        raise DemoError(f"/dev/net/tun: {error.strerror}; TAP devices need it (modprobe tun)") from error
    for program in ("dpdk-testpmd", "tcpreplay", "tcpdump", "ip", "ethtool", "stdbuf"):
        if not shutil.which(program):
            raise DemoError(f"{program} is not installed: run tools/setup")
    if options.pcap:
        try:
            read_pcap(options.pcap)
        except OSError as error:
            raise DemoError(f"{options.pcap}: {error.strerror}") from error
    # EAL refuses such a plugin (eal_common_options.c, verify_perms) but says so among other lines.
    for directory in options.plugin.absolute().parents:
        if directory.exists() and directory.stat().st_mode & stat.S_IWOTH:
            raise DemoError(f"DPDK loads no plugin from below world-writable {directory}: move the repository")
    if not options.check and not options.plugin.exists():
        raise DemoError(f"{options.plugin} is not there: run tools/demo, which builds it")


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="tools/demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"""Builds the driver and runs it under Debian's dpdk-testpmd between two network
namespaces:

  1. {MIX_FLOWS:,} flows (IPv4, IPv6, TCP, UDP, VLAN, QinQ, fragments) to a port with
     {QUEUES} queues and remote=eth3. Queue and hash of every packet are compared with
     those of an independent Toeplitz hash
  2. the same with another key and redirection table, set while the port runs
  3. a capture of real traffic, replayed by tcpreplay and compared likewise
  4. a TCP transfer through testpmd forwarding between two ports, bytes verified

Ends with PASS and status 0, or with FAIL lines for what was wrong and status 1.
Needs root and /dev/net/tun; what it makes is gone when it ends.""",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of all that is random (default 1)")
    parser.add_argument("--rx", choices=("auto", "ring", "fd"), default="auto", help="the driver's devarg (default auto)")
    parser.add_argument(
        "--pcap", type=pathlib.Path, metavar="FILE", help="replay your own capture (pcap or pcapng, Ethernet)"
    )
    parser.add_argument("--check", action="store_true", help="only check options and machine")
    parser.add_argument(
        "--plugin",
        type=pathlib.Path,
        default=REPOSITORY / "build/release/lib/librte_net_tapflow.so",
        metavar="FILE",
        help="the driver to show (default: the one in build/release)",
    )
    return parser.parse_args()


def interrupted(number, _frame):
    raise KeyboardInterrupt(number)


def hold_signals():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def main():
    options = parse_arguments()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    try:
        check_machine(options)
        if options.check:
            return 0
        with contextlib.ExitStack() as stack:
            try:
                return Demo(options).run(stack)
            finally:
                hold_signals()  # a second Ctrl-C must not stop the cleaning up
    except (DemoError, OSError) as error:
        print(f"demo: {error}" if options.check else f"\nFAIL  {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print("\nFAIL  interrupted", file=sys.stderr)
        return 128 + (error.args[0] if error.args else signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
