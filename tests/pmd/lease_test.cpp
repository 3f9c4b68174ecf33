// SPDX-License-Identifier: BSD-3-Clause
// A port that lets nobody have its packets: the remote's are the kernel's again within two seconds, and each packet of
// a burst is accounted for.
#include "pmd/take_over.h"
#include "tapflow/abi/port_state.h"
#include "tapflow/abi/record.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <csignal>

namespace tapflow::test {
namespace {

const packet::Mac kSource = "02:00:00:00:03:01";
const packet::Mac kBroadcast = "ff:ff:ff:ff:ff:ff";

/// A remote port that receives, its peer, and the kernel's side.
class RemotePort : public testing::Test {
  protected:
    void start(const std::string &devargs = "", unsigned descriptors = 0) {
        TestpmdOptions options = plugin_options(net.app, {remote_vdev() + devargs});
        options.rxd = descriptors;
        testpmd.emplace(options);
        testpmd->command("set promisc 0 off");
        start_forwarding(*testpmd, "rxonly");
    }

    /// Frames to the port reach the application, and nobody else.
    void expect_application_receives() {
        testpmd->clear_packets();
        // It may take the lease's thread a moment after a stop. What was in the ring all the while says nothing of
        // that.
        const packet::Mac first = "02:00:00:00:03:05";
        ASSERT_TRUE(wait_until([&] {
            (void)peer.send(probe(own, first));
            const auto packets = testpmd->packets(1, milliseconds(50));
            return std::any_of(packets.begin(), packets.end(),
                               [&](const TestpmdPacket &packet) { return packet.src == first.text(); });
        }));
        while (kernel_side.receive(milliseconds(0))) {
        }
        testpmd->clear_packets();
        const packet::Mac counted = "02:00:00:00:03:02";
        for (unsigned i = 0; i < 10; ++i)
            ASSERT_TRUE(peer.send(probe(own, counted)));
        EXPECT_EQ(testpmd->packets(10).size(), 10U);
        const packet::Mac last = "02:00:00:00:03:03";
        ASSERT_TRUE(peer.send(probe(kBroadcast, last)));
        EXPECT_TRUE(sources_until(kernel_side, last).empty());
        EXPECT_EQ(testpmd->packets(1).size(), 1U);
    }

    Cabled net;
    const MacAddress own = net.app.link("eth3").mac;
    PacketSocket peer{net.outside, "peer3"};
    PacketSocket kernel_side = socket_behind_ingress(net.app, "eth3");
    std::optional<Testpmd> testpmd;
};

/// The counter of packets that went to the kernel because nobody reads: a ring tells for itself, a queue of the tap's
/// is looked at by the lease's thread.
std::string left_to_the_kernel() { return tested_rx_mode() == "ring" ? "rx_q0_ring_stuck" : "rx_lease_lost"; }

TEST_F(RemotePort, ThatIsNotPolledLosesItsPacketsToTheKernelUntilItIs) {
    start("", 64);
    expect_application_receives();
    testpmd->command("stop");
    while (testpmd->port_stats(0).rx_missed == 0)
        for (unsigned i = 0; i < 100; ++i)
            ASSERT_TRUE(peer.send(probe(own, kSource, 1514)));
    expect_in_time("full queue that nobody reads", wait_for_kernel(peer, kernel_side, own, 1514));
    EXPECT_GT(testpmd->port_xstats(0).at(left_to_the_kernel()), 0U);
    testpmd->command("start");
    expect_application_receives();
    EXPECT_EQ(testpmd->quit(), 0);
}

/// The frames of a burst that found nobody polling, by what became of them.
struct Burst {
    uint64_t received;
    uint64_t missed;
    uint64_t stuck;
};

/// What a queue of 64 descriptors holds of them: 128 KiB of ring, of which each takes the class of 1024 bytes with its
/// record and the ring's header, or 64 frames.
unsigned frames_that_fit() {
    return tested_rx_mode() == "ring" ? static_cast<unsigned>((128U << 10U) / (1024 + sizeof(tapflow_record) + 8)) : 64;
}

Burst send_unpolled_burst(Testpmd &testpmd, PacketSocket &sender, const MacAddress &own, unsigned count) {
    testpmd.command("stop");
    testpmd.command("clear port stats 0");
    testpmd.command("clear port xstats 0");
    const packet::Bytes frame = probe(own, kSource, 700);
    for (unsigned i = 0; i < count; ++i)
        (void)sender.send(frame); // a full ring is an error to a local sender
    const uint64_t missed = testpmd.port_stats(0).rx_missed;
    const auto xstats = testpmd.port_xstats(0);
    if (tested_rx_mode() == "ring") {
        EXPECT_EQ(missed, xstats.at("rx_q0_ring_full"));
    }
    // A machine that is slow enough to call the queue stuck during the burst counts the rest so.
    const uint64_t stuck = xstats.at(left_to_the_kernel());
    testpmd.command("set verbose 0");
    testpmd.command("start");
    EXPECT_TRUE(wait_until([&] { return testpmd.port_stats(0).rx_packets + missed + stuck >= count; }));
    return {testpmd.port_stats(0).rx_packets, missed, stuck};
}

TEST_F(RemotePort, AccountsForEachPacketOfABurst) {
    start("", 64);
    expect_application_receives();
    constexpr unsigned kFrames = 1000;
    const Burst burst = send_unpolled_burst(*testpmd, peer, own, kFrames);
    EXPECT_EQ(burst.received + burst.missed + burst.stuck, kFrames);
    // Of what was read before, a ring's reader may keep an eighth, and the kernel's consumer of a queue (ptr_ring)
    // a batch of 16.
    EXPECT_LE(burst.received, frames_that_fit());
    EXPECT_GE(burst.received, frames_that_fit() * 3 / 4);
    const packet::Mac last = "02:00:00:00:03:03";
    ASSERT_TRUE(peer.send(probe(kBroadcast, last)));
    EXPECT_EQ(sources_until(kernel_side, last).size(), burst.stuck);
}

TEST(LocalPort, AccountsForEachPacketOfABurst) {
    const NetNs netns;
    TestpmdOptions options = plugin_options(netns, {"net_tap0,iface=tap0"});
    options.rxd = 64;
    Testpmd testpmd(options);
    PacketSocket host(netns, "tap0", {.receive = false});
    constexpr unsigned kFrames = 1000;
    const Burst burst = send_unpolled_burst(testpmd, host, netns.link("tap0").mac, kFrames);
    EXPECT_EQ(burst.received + burst.missed + burst.stuck, kFrames);
    EXPECT_EQ(burst.received, frames_that_fit());
}

TEST(LocalPort, CountsAsMissedWhatItsFullRingDropsHoweverLong) {
    const NetNs netns;
    TestpmdOptions options = plugin_options(netns, {"net_tap0,iface=tap0"});
    options.rxd = 64;
    Testpmd testpmd(options);
    PacketSocket host(netns, "tap0", {.receive = false});
    const packet::Bytes frame = probe(netns.link("tap0").mac, kSource, 1514);
    uint64_t sent = 0;
    const auto start = Clock::now();
    ASSERT_TRUE(wait_until([&] {
        (void)host.send(frame);
        return ++sent % 100 == 0 &&
               Clock::now() > start + std::chrono::nanoseconds(TAPFLOW_LEASE_NS) + milliseconds(300);
    }));
    const uint64_t missed = testpmd.port_stats(0).rx_missed;
    testpmd.command("start");
    EXPECT_TRUE(wait_until([&] { return testpmd.port_stats(0).rx_packets + missed >= sent; }, milliseconds(10'000)));
    EXPECT_EQ(testpmd.port_stats(0).rx_packets + missed, sent);
}

/// A TCP connection over the remote's own address, between the two kernels.
class Conversation {
  public:
    Conversation(const Cabled &net) {
        configure(net.app, "eth3", "10.9.0.1", "10.9.0.2", net.outside.link("peer3").mac);
        configure(net.outside, "peer3", "10.9.0.2", "10.9.0.1", net.app.link("eth3").mac);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(22);
        address.sin_addr.s_addr = htonl(0x0a090001);
        const auto *where = reinterpret_cast<const sockaddr *>(&address);
        const Fd listener = make_socket(net.app);
        if (bind(listener.get(), where, sizeof(address)) != 0 || listen(listener.get(), 1) != 0)
            throw_errno("listen");
        client_ = make_socket(net.outside);
        if (connect(client_.get(), where, sizeof(address)) != 0)
            throw_errno("connect");
        server_ = owned(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC), "accept");
        set_timeout(server_);
    }

    void ask() { send_byte(client_); }
    [[nodiscard]] bool heard() const {
        char byte = 0;
        return recv(server_.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 1;
    }
    void expect_answer() {
        expect_byte(server_, "the question did not arrive");
        send_byte(server_);
        expect_byte(client_, "the answer did not arrive");
    }

  private:
    static void configure(const NetNs &netns, const std::string &interface, const std::string &address,
                          const std::string &other, const MacAddress &other_mac) {
        netns.must_run({"ip", "address", "add", address + "/24", "dev", interface});
        netns.must_run({"ip", "neigh", "add", other, "lladdr", other_mac.text(), "dev", interface, "nud", "permanent"});
    }
    static Fd make_socket(const NetNs &netns) {
        const NetNsGuard inside = netns.enter();
        Fd fd = owned(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "open a TCP socket");
        set_timeout(fd);
        return fd;
    }
    static void set_timeout(const Fd &fd) {
        const timeval limit{60, 0};
        if (setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) != 0)
            throw_errno("set SO_RCVTIMEO");
    }
    static void send_byte(const Fd &fd) {
        if (::send(fd.get(), "?", 1, MSG_NOSIGNAL) != 1)
            throw_errno("send a byte");
    }
    static void expect_byte(const Fd &fd, const char *failure) {
        char byte = 0;
        EXPECT_EQ(recv(fd.get(), &byte, 1, 0), 1) << failure;
    }

    Fd server_;
    Fd client_;
};

TEST_F(RemotePort, GivesTheKernelsTcpConnectionsBackWhenItStopsOrDies) {
    Conversation ssh(net);
    ssh.ask();
    ssh.expect_answer();
    start();

    // The port has the remote's address: what comes for it is the application's.
    testpmd->clear_packets();
    ssh.ask();
    ASSERT_FALSE(testpmd->packets(1).empty());
    EXPECT_FALSE(ssh.heard());
    testpmd->command("stop");
    testpmd->command("port stop 0");
    ssh.expect_answer(); // retransmitted
    ssh.ask();
    ssh.expect_answer();

    testpmd->command("port start 0");
    testpmd->command("start");
    testpmd->clear_packets();
    ssh.ask();
    ASSERT_FALSE(testpmd->packets(1).empty());
    EXPECT_FALSE(ssh.heard());
    testpmd->process().kill(SIGKILL);
    ssh.expect_answer();
    ssh.ask();
    ssh.expect_answer();
}

} // namespace
} // namespace tapflow::test
