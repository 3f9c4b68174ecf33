// SPDX-License-Identifier: BSD-3-Clause
// l3fwd-power sleeps until an Rx interrupt wakes it.
#include "pmd/plugin.h"
#include "programs/example.h"
#include "support/effort.h"
#include "support/packet_socket.h"

#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <thread>

namespace tapflow::test {
namespace {

using packet::Packet;

constexpr std::string_view kWokenUp = "is waked up from rx interrupt on port 0 queue 0";

size_t occurrences(const std::string &text, std::string_view part) {
    size_t count = 0;
    for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
        ++count;
    return count;
}

/// Whether a process's first thread, which is its first lcore, waits in the kernel.
bool sleeps(pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string stat;
    std::getline(file, stat);
    const size_t name_end = stat.rfind(") ");
    return name_end != std::string::npos && stat.at(name_end + 2) == 'S';
}

/// Routes of the program's own: 1.1.1.0/24 is behind port 0, 2.1.1.0/24 behind port 1.
class L3fwdPower : public testing::TestWithParam<Mode> {
  protected:
    void SetUp() override {
        if (!example_is_there("l3fwd-power"))
            GTEST_SKIP() << "machine lacks the sources of DPDK's examples";
        const bool remote = GetParam() == Mode::Remote;
        ExampleOptions options{
            .name = "l3fwd-power",
            .vdevs = {"net_tap0,iface=tap0"},
            .arguments = {"-p", "1", "-P", "--interrupt-only", "--config=(0,0,0)"},
        };
        if (remote) {
            options.vdevs = {remote_vdev(0), remote_vdev(1)};
            options.arguments = {"-p", "3", "-P", "--interrupt-only", "--config=(0,0,0),(1,0,0)"};
        }
        program.emplace(cabled.app, options);
        (void)program->process().wait_for("rxqueueid=0");
        in_mac = cabled.app.link(remote ? "eth3" : "tap0").mac;
        in.emplace(remote ? cabled.outside : cabled.app, remote ? "peer3" : "tap0", PacketSocketOptions{});
        out.emplace(remote ? cabled.outside : cabled.app, remote ? "peer4" : "tap0", PacketSocketOptions{});
    }

    /// Sends a packet that is told from others by its ports, and waits until it comes out.
    void expect_forwarded(uint16_t number) {
        const bool remote = GetParam() == Mode::Remote;
        const char *to = remote ? "2.1.1.7" : "1.1.1.7";
        ASSERT_TRUE(in->send(Packet().ether(in_mac).ipv4("10.0.0.1", to).udp(number, 9).payload(40).bytes()));
        const auto frame = out->receive();
        ASSERT_TRUE(frame) << "lost: " << number;
        const packet::Bytes expected = Packet()
                                           .ether(remote ? "02:00:00:00:00:01" : "02:00:00:00:00:00",
                                                  cabled.app.link(remote ? "eth4" : "tap0").mac)
                                           .ipv4({.src = "10.0.0.1", .dst = to, .ttl = 63})
                                           .udp(number, 9)
                                           .payload(40)
                                           .bytes();
        // But for the IP header's checksum, which the program changes as if all machines were big-endian.
        const auto without_checksum = [](packet::Bytes bytes) {
            bytes.at(24) = bytes.at(25) = 0;
            return bytes;
        };
        EXPECT_EQ(without_checksum(frame->bytes), without_checksum(expected));
    }

    Cabled cabled{2};
    std::optional<Example> program;
    packet::Mac in_mac;
    std::optional<PacketSocket> in;
    std::optional<PacketSocket> out;
};
INSTANTIATE_TEST_SUITE_P(Modes, L3fwdPower, testing::Values(Mode::Local, Mode::Remote),
                         [](const auto &instance) { return instance.param == Mode::Local ? "Local" : "Remote"; });

TEST_P(L3fwdPower, SleepsWhileThereIsSilenceAndForwardsWhatEndsIt) {
    expect_forwarded(1);
    for (uint16_t number = 2; number < 4; ++number) {
        const pid_t pid = program->process().pid();
        ASSERT_TRUE(wait_until([&] { return sleeps(pid); }));
        const double cpu_before = program->cpu_seconds();
        const auto before = Clock::now();
        std::this_thread::sleep_for(milliseconds(1500)); // the silence
        const double cpu = program->cpu_seconds() - cpu_before;
        const std::chrono::duration<double> time = Clock::now() - before;
        // It looks around every 10 ms by itself. Who polls needs all of the time.
        EXPECT_LT(cpu, time.count() / 5);
        expect_forwarded(number);
    }
    program->process().kill(SIGINT);
    EXPECT_EQ(program->process().wait(), 0);
}

TEST_P(L3fwdPower, LosesNoneOfManyPacketsThatEachWakeIt) {
    const unsigned packets = effort(1000);
    for (unsigned i = 0; i < packets; ++i) {
        const pid_t pid = program->process().pid();
        ASSERT_TRUE(wait_until([&] { return sleeps(pid); }, kDefaultTimeout, milliseconds(0)));
        ASSERT_NO_FATAL_FAILURE(expect_forwarded(static_cast<uint16_t>(i)));
    }
    program->process().kill(SIGINT);
    EXPECT_EQ(program->process().wait(), 0);
    // Some come while it looks around by itself.
    EXPECT_GT(occurrences(program->process().output(), kWokenUp), packets / 2);
}

} // namespace
} // namespace tapflow::test
