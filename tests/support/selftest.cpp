// SPDX-License-Identifier: BSD-3-Clause
// The support code against the real kernel and drivers that DPDK ships.
#include "support/netns.h"
#include "support/packet_socket.h"
#include "support/process.h"
#include "support/testpmd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <fstream>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

packet::Packet udp_packet(uint16_t src_port = 1000) {
    return Packet().ether("ff:ff:ff:ff:ff:ff").ipv4("10.0.0.1", "10.0.0.2").udp(src_port, 2000).payload(20);
}

ino_t namespace_of(const std::string &path) {
    struct stat info {};
    return stat(path.c_str(), &info) == 0 ? info.st_ino : 0;
}

TEST(Process, CapturesStdoutAndStderrInOrderAndTheExitStatus) {
    const CommandResult result = run_command({"sh", "-c", "echo one; echo two >&2; echo three; exit 7"});
    EXPECT_EQ(result.output, "one\ntwo\nthree\n");
    EXPECT_EQ(result.status, 7);
}

TEST(Process, ArgumentsAndEnvironmentArriveUnchanged) {
    const ProcessOptions options{.environment = {"HOME=/a b", "TAPFLOW_X=$y"}};
    EXPECT_EQ(
        run_command({"sh", "-c", "printf '%s|%s|%s' \"$1\" \"$HOME\" \"$TAPFLOW_X\"", "-", "it's; *"}, options).output,
        "it's; *|/a b|$y");
}

TEST(Process, ReportsWhatCannotBeExecuted) {
    try {
        (void)run_command({"/nonexistent/program"});
        FAIL() << "ran";
    } catch (const std::system_error &error) {
        EXPECT_EQ(error.code().value(), ENOENT);
    }
}

TEST(Process, WaitForReturnsUpToTheMatchAndGoesOnBehindIt) {
    Process cat({"cat"});
    cat.write("alpha beta 42 gamma\n");
    EXPECT_EQ(cat.wait_for("beta"), "alpha beta");
    EXPECT_EQ(cat.wait_for_match("[0-9]+ g"), " 42 g");
    cat.close_stdin();
    EXPECT_EQ(cat.wait(), 0);
    EXPECT_THROW(cat.wait_for("beta"), std::runtime_error);
}

TEST(Process, TimeoutHoldsTheOutput) {
    Process child({"sh", "-c", "echo last words; exec sleep 1000"});
    child.wait_for("words");
    try {
        child.wait_for("more", milliseconds(50));
        FAIL() << "found";
    } catch (const std::runtime_error &error) {
        EXPECT_NE(std::string(error.what()).find("last words"), std::string::npos);
    }
}

TEST(Process, OutputLargerThanAnyPipeDoesNotBlock) {
    EXPECT_EQ(run_command({"head", "-c", "5000000", "/dev/zero"}).output.size(), 5'000'000U);
}

TEST(Process, KeepsWriteBoundariesWhenAsked) {
    Process child({"sh", "-c", "printf a; printf bc; printf d"}, {.keep_write_boundaries = true});
    std::vector<std::string> writes;
    while (auto text = child.read_once(kDefaultTimeout))
        writes.push_back(*text);
    EXPECT_EQ(writes, (std::vector<std::string>{"a", "bc", "d"}));
}

TEST(Process, DiesWithItsOwner) {
    pid_t pid = 0;
    {
        Process child({"sleep", "1000"});
        pid = child.pid();
        EXPECT_TRUE(child.running());
    }
    EXPECT_EQ(kill(pid, 0), -1);
    Process child({"sleep", "1000"});
    child.kill(SIGTERM);
    EXPECT_EQ(child.wait(), 128 + SIGTERM);
}

TEST(Process, WritingToADeadChildIsAnErrorNotASignal) {
    Process child({"true"});
    EXPECT_EQ(child.wait(), 0);
    EXPECT_THROW(child.write("x"), std::system_error);
}

TEST(Process, InheritsNoDescriptors) {
    const int leaky = open("/dev/null", O_RDONLY);                                  // on purpose without O_CLOEXEC
    EXPECT_EQ(run_command({"sh", "-c", "ls /proc/self/fd | wc -l"}).output, "4\n"); // 0, 1, 2 and ls's own
    close(leaky);
}

TEST(NetNs, IsEnteredAndLeft) {
    const ino_t before = namespace_of("/proc/thread-self/ns/net");
    const NetNs a;
    const NetNs b;
    {
        const NetNsGuard in_a = a.enter();
        EXPECT_EQ(namespace_of("/proc/thread-self/ns/net"), namespace_of(a.path()));
        const NetNsGuard in_b = b.enter();
        EXPECT_EQ(namespace_of("/proc/thread-self/ns/net"), namespace_of(b.path()));
    }
    EXPECT_EQ(namespace_of("/proc/thread-self/ns/net"), before);
    EXPECT_NE(namespace_of(a.path()), before);
}

TEST(NetNs, RunsCommandsInside) {
    const NetNs ns;
    EXPECT_EQ(ns.must_run({"ip", "-o", "link", "show"}).substr(0, 6), "1: lo:");
    EXPECT_NE(ns.run({"ip", "link", "show", "nosuch0"}).status, 0);
    EXPECT_THROW(ns.must_run({"ip", "link", "show", "nosuch0"}), std::runtime_error);
    EXPECT_NE(ns.ip_json({"link", "show", "lo"}).find("\"ifname\":\"lo\""), std::string::npos);
}

TEST(NetNs, SysctlsAreItsOwn) {
    const NetNs a;
    const NetNs b;
    a.set_sysctl("net/ipv4/ip_forward", "1");
    b.set_sysctl("net/ipv4/ip_forward", "0");
    EXPECT_EQ(a.sysctl("net/ipv4/ip_forward"), "1");
    EXPECT_EQ(b.sysctl("net/ipv4/ip_forward"), "0");
}

TEST(NetNs, VethPairIsUpAndSilent) {
    const NetNs a;
    const NetNs b;
    add_veth(a, "left", b, "right");
    PacketSocket listener(b, "right", {.ignore_outgoing = false});
    EXPECT_FALSE(listener.receive(milliseconds(300)));
    EXPECT_TRUE(a.link("left").up());
    EXPECT_TRUE(b.link("right").running());
    EXPECT_EQ(a.link("left").tx_packets, 0U);
    EXPECT_EQ(b.must_run({"ip", "-6", "address", "show", "dev", "right"}), "");
}

TEST(NetNs, ReadsWhatIpSet) {
    const NetNs ns;
    add_veth(ns, "left", ns, "right");
    ns.must_run({"ip", "link", "set", "left", "mtu", "1700", "address", "02:12:34:56:78:9a", "promisc", "on"});
    const Link link = ns.link("left");
    EXPECT_EQ(link.name, "left");
    EXPECT_EQ(link.mtu, 1700U);
    EXPECT_EQ(link.mac.text(), "02:12:34:56:78:9a");
    EXPECT_EQ(link.promiscuity, 1U);
    EXPECT_NE(link.flags & IFF_PROMISC, 0U);
    EXPECT_FALSE(ns.find_link("nosuch0"));
    EXPECT_THROW((void)ns.link("nosuch0"), std::runtime_error);
}

TEST(NetNs, WaitsForLinkEvents) {
    const NetNs ns;
    add_veth(ns, "left", ns, "right");
    Process later({"sh", "-c", "sleep 0.2; ip link set left down; sleep 0.2; ip link del left"}, {.netns = ns.fd()});
    EXPECT_TRUE(ns.wait_link("right", [](const Link &link) { return !link.carrier; }));
    EXPECT_TRUE(ns.wait_link_gone("right"));
    EXPECT_FALSE(ns.wait_link(
        "right", [](const Link &) { return true; }, milliseconds(50)));
}

TEST(PacketSocket, FramesCrossTheVeth) {
    const NetNs a;
    const NetNs b;
    add_veth(a, "left", b, "right");
    PacketSocket sender(a, "left", {.receive = false});
    PacketSocket bypassing(a, "left", {.receive = false, .qdisc_bypass = true});
    PacketSocket receiver(b, "right");
    const Bytes frame = udp_packet().bytes();
    EXPECT_TRUE(sender.send(frame));
    EXPECT_TRUE(bypassing.send(frame));
    for (int i = 0; i < 2; ++i) {
        const auto received = receiver.receive();
        ASSERT_TRUE(received);
        EXPECT_EQ(received->bytes, frame);
        EXPECT_EQ(received->packet_type, PACKET_BROADCAST);
    }
    EXPECT_EQ(b.link("right").rx_packets, 2U);
}

TEST(PacketSocket, TellsWhenTcDropsAFrame) {
    const NetNs ns;
    add_veth(ns, "left", ns, "right");
    ns.must_run({"tc", "qdisc", "add", "dev", "left", "clsact"});
    // A classic BPF program of one instruction: return TC_ACT_SHOT.
    ns.must_run({"tc", "filter", "add", "dev", "left", "egress", "bpf", "da", "bytecode", "1,6 0 0 2"});
    PacketSocket sender(ns, "left", {.receive = false});
    const std::vector<Bytes> frames(3, udp_packet().bytes());
    EXPECT_FALSE(sender.send(frames[0]));
    EXPECT_EQ(sender.send_burst(frames, 2), 0U);
    EXPECT_TRUE(PacketSocket(ns, "left", {.receive = false, .qdisc_bypass = true}).send(frames[0]));
}

TEST(PacketSocket, BurstArrivesCompleteAndInOrder) {
    const NetNs a;
    const NetNs b;
    add_veth(a, "left", b, "right");
    std::vector<Bytes> frames;
    for (uint16_t i = 0; i < 1000; ++i)
        frames.push_back(udp_packet(i).bytes());
    PacketSocket receiver(b, "right");
    EXPECT_EQ(PacketSocket(a, "left", {.receive = false}).send_burst(frames), frames.size());
    const auto received = receiver.receive_many(frames.size());
    ASSERT_EQ(received.size(), frames.size());
    EXPECT_TRUE(std::equal(frames.begin(), frames.end(), received.begin(),
                           [](const Bytes &sent, const ReceivedFrame &got) { return sent == got.bytes; }));
    EXPECT_EQ(receiver.dropped(), 0U);
}

TEST(PacketSocket, ShowsTheVlanTagTheKernelTookOut) {
    const NetNs a;
    const NetNs b;
    add_veth(a, "left", b, "right");
    PacketSocket receiver(b, "right");
    const Bytes frame = Packet().ether().vlan({.vid = 5, .pcp = 3}).ipv4("1.1.1.1", "1.1.1.2").udp(1, 2).bytes();
    EXPECT_TRUE(PacketSocket(a, "left", {.receive = false}).send(frame));
    const auto received = receiver.receive();
    ASSERT_TRUE(received);
    EXPECT_EQ(received->vlan_tci, std::optional<uint16_t>(0x6005));
    EXPECT_EQ(received->vlan_tpid, 0x8100);
    EXPECT_EQ(received->bytes.size(), frame.size() - 4);
    EXPECT_EQ(received->on_wire(), frame);
}

TEST(PacketSocket, PartialChecksumsStayPartialAcrossAVeth) {
    const NetNs a;
    const NetNs b;
    add_veth(a, "left", b, "right");
    PacketSocket sender(a, "left", {.receive = false, .vnet_hdr = true});
    PacketSocket receiver(b, "right", {.vnet_hdr = true});
    const Packet partial = Packet().ether().ipv4("10.0.0.1", "10.0.0.2").tcp(1, 2).partial_checksum().payload(100);
    EXPECT_TRUE(sender.send(partial.bytes(), checksum_request(partial)));
    const auto received = receiver.receive();
    ASSERT_TRUE(received);
    EXPECT_TRUE(received->checksum_not_ready);
    EXPECT_EQ(received->offload.flags & VnetHeader::kNeedsChecksum, VnetHeader::kNeedsChecksum);
    EXPECT_EQ(received->offload.checksum_start, 34);
    EXPECT_EQ(received->bytes, partial.bytes());
}

TEST(PacketSocket, GsoFramesAreCutWhereTheDeviceCannot) {
    const NetNs a;
    const NetNs b;
    add_veth(a, "left", b, "right");
    a.must_run({"ethtool", "-K", "left", "tso", "off", "gso", "off", "tx", "off"});
    PacketSocket sender(a, "left", {.receive = false, .vnet_hdr = true});
    PacketSocket receiver(b, "right");
    const auto tcp = [](uint32_t seq) {
        return Packet()
            .ether()
            .ipv4({.src = "10.0.0.1", .dst = "10.0.0.2", .id = 5})
            .tcp({.src_port = 1, .dst_port = 2, .seq = seq});
    };
    const Packet large = tcp(0).partial_checksum().payload(2500);
    ASSERT_TRUE(sender.send(large.bytes(), gso_request(large, VnetHeader::kGsoTcpV4, 1000)));
    const auto segments = receiver.receive_many(3);
    ASSERT_EQ(segments.size(), 3U);
    const Bytes whole = large.bytes();
    const Bytes last_part(whole.begin() + 54 + 2000, whole.end());
    EXPECT_EQ(segments[0].bytes.size(), 1054U);
    EXPECT_EQ(segments[2].bytes, Packet()
                                     .ether()
                                     .ipv4({.src = "10.0.0.1", .dst = "10.0.0.2", .id = 7})
                                     .tcp({.src_port = 1, .dst_port = 2, .seq = 2000})
                                     .raw(last_part)
                                     .bytes());
}

TEST(TestpmdOutput, PacketsThatComeWhileForwardingStopsAreFound) {
    const auto packets = parse_packets("Telling cores to stop...port 0/queue 1: received 1 packets\n"
                                       "  src=02:00:00:00:00:01 - dst=02:00:00:00:00:02 - type=0x0800 - length=60\n"
                                       "  ol_flags: \n"
                                       "port 0/queue 1: received 1 packets\n"
                                       "Telling cores to stop...  src=02:00:00:00:00:03 - type=0x0800 - length=60\n"
                                       "  ol_flags: \n\n"
                                       "Waiting for lcores to finish...\n");
    ASSERT_EQ(packets.size(), 2U);
    EXPECT_EQ(packets[0].src, "02:00:00:00:00:01");
    EXPECT_EQ(packets[1].src, "02:00:00:00:00:03");
}

TEST(TestpmdOutput, ParsesEveryFieldOfAPacket) {
    TestpmdPacketParser parser;
    const std::string text =
        "port 1/queue 3: received 2 packets\n"
        "  src=82:9D:41:98:B9:8C - dst=33:33:00:00:00:16 - pool=mb_pool_0 - type=0x86dd - length=90 - nb_segs=2 - RSS "
        "hash=0xdeadbeef - RSS queue=0x3 - FDIR matched ID=0x7 - VLAN tci=0x6005 - hw ptype: L2_ETHER L3_IPV6_EXT  - "
        "sw "
        "ptype: L2_ETHER L3_IPV6  - l2_len=14 - l3_len=48 - Receive queue=0x3\n"
        "  ol_flags: RTE_MBUF_F_RX_RSS_HASH RTE_MBUF_F_RX_IP_CKSUM_UNKNOWN \n"
        "port 0/queue 0: sent 1 packets\n"
        "  src=82:9D:41:98:B9:8C - dst=33:33:00:00:00:16 - pool=mb_pool_0 - type=0x0800 - length=9 - nb_segs=1\n"
        "  ol_flags: \n";
    for (const char c : text)
        parser.feed(std::string_view(&c, 1));
    const auto packets = parser.take();
    ASSERT_EQ(packets.size(), 1U);
    const TestpmdPacket &packet = packets[0];
    EXPECT_EQ(packet.port, 1U);
    EXPECT_EQ(packet.queue, 3U);
    EXPECT_EQ(packet.src, "82:9d:41:98:b9:8c");
    EXPECT_EQ(packet.dst, "33:33:00:00:00:16");
    EXPECT_EQ(packet.ethertype, 0x86dd);
    EXPECT_EQ(packet.length, 90U);
    EXPECT_EQ(packet.nb_segs, 2U);
    EXPECT_EQ(packet.rss_hash, 0xdeadbeefU);
    EXPECT_EQ(packet.rss_queue, 3U);
    EXPECT_EQ(packet.mark, 7U);
    EXPECT_TRUE(packet.flagged);
    EXPECT_EQ(packet.vlan_tci, 0x6005);
    EXPECT_FALSE(packet.vlan_tci_outer);
    EXPECT_EQ(packet.hw_ptype, "L2_ETHER L3_IPV6_EXT");
    EXPECT_EQ(packet.sw_ptype, "L2_ETHER L3_IPV6");
    EXPECT_TRUE(packet.has_flag("RTE_MBUF_F_RX_RSS_HASH"));
    EXPECT_FALSE(packet.has_flag("RTE_MBUF_F_RX_RSS"));
}

TEST(Testpmd, StartsRunsCommandsAndQuits) {
    Testpmd testpmd({.vdevs = {"net_null0"}, .rxq = 2, .txq = 2});
    EXPECT_NE(testpmd.banner().find("Interactive-mode selected"), std::string::npos);
    EXPECT_EQ(testpmd.command("set fwd rxonly"), "Set rxonly packet forwarding mode\n");
    EXPECT_EQ(testpmd.command("nosuch"), "Command not found\n");
    EXPECT_EQ(testpmd.command(""), "");
    EXPECT_THROW(testpmd.command(std::string(511, 'x')), std::invalid_argument);
    EXPECT_NE(testpmd.command("start").find("rxonly packet forwarding"), std::string::npos);
    EXPECT_TRUE(wait_until([&] { return testpmd.port_stats(0).rx_packets > 0; }));
    EXPECT_NE(testpmd.command("stop").find("Accumulated forward statistics"), std::string::npos);
    EXPECT_GT(testpmd.port_xstats(0).at("rx_good_packets"), 0U);
    EXPECT_EQ(testpmd.quit(), 0);
}

TEST(Testpmd, StartFailureShowsTheOutput) {
    try {
        const Testpmd testpmd({.vdevs = {"net_nosuchdriver0"}});
        FAIL() << "started";
    } catch (const std::runtime_error &error) {
        EXPECT_NE(std::string(error.what()).find("net_nosuchdriver0"), std::string::npos) << error.what();
    }
}

TEST(Testpmd, ReceivedPacketsBecomeValuesInItsNamespace) {
    const NetNs ns;
    add_veth(ns, "left", ns, "right");
    Testpmd testpmd({.vdevs = {"net_af_packet0,iface=right"}, .netns = &ns});
    testpmd.command("set verbose 1");
    testpmd.command("set fwd rxonly");
    testpmd.command("start");
    std::vector<Bytes> frames;
    for (uint16_t i = 0; i < 200; ++i)
        frames.push_back(udp_packet(i).pad_to(100U + i).bytes());
    PacketSocket sender(ns, "left", {.receive = false});
    EXPECT_EQ(sender.send_burst(frames), frames.size());
    // Commands between the packets' lines must neither lose a packet nor a prompt.
    for (int i = 0; i < 10; ++i)
        EXPECT_NE(testpmd.command("show port stats all").find("RX-packets"), std::string::npos);
    const auto packets = testpmd.packets(frames.size());
    ASSERT_EQ(packets.size(), frames.size());
    for (size_t i = 0; i < packets.size(); ++i) {
        EXPECT_EQ(packets[i].length, 100 + i);
        EXPECT_EQ(packets[i].dst, "ff:ff:ff:ff:ff:ff");
        EXPECT_EQ(packets[i].ethertype, 0x0800);
        EXPECT_EQ(packets[i].sw_ptype, "L2_ETHER L3_IPV4 L4_UDP");
    }
    EXPECT_TRUE(sender.send(frames[0]));
    EXPECT_EQ(testpmd.packets(1).size(), 1U);
    EXPECT_TRUE(testpmd.packets(1, milliseconds(50)).empty());
    testpmd.command("stop");
    EXPECT_EQ(testpmd.port_stats(0).rx_packets, 201U);
    EXPECT_EQ(testpmd.quit(), 0);
}

TEST(Testpmd, LeavesNoDirectoryBehindWhenItIsKilled) {
    std::string directory;
    {
        Testpmd testpmd({.vdevs = {"net_null0"}});
        std::ifstream environment("/proc/" + std::to_string(testpmd.process().pid()) + "/environ");
        while (std::getline(environment, directory, '\0') && !directory.starts_with("RUNTIME_DIRECTORY=")) {
        }
        directory = directory.substr(directory.find('=') + 1);
        EXPECT_TRUE(std::filesystem::exists(directory));
    }
    EXPECT_FALSE(std::filesystem::exists(directory));
}

} // namespace
} // namespace tapflow::test
