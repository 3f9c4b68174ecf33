// SPDX-License-Identifier: BSD-3-Clause
// A port as DPDK's telemetry shows it, by its socket and by dpdk-telemetry.py.
#include "pmd/flow_rig.h"

#include <nlohmann/json.hpp>
#include <sys/un.h>

#include <algorithm>
#include <array>

namespace tapflow::test {
namespace {

using Json = nlohmann::json;

/// A connection to a program's telemetry socket, which answers each message with one.
class Telemetry {
  public:
    explicit Telemetry(const std::filesystem::path &path)
        : fd_(owned(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), "make a socket")) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.string().copy(address.sun_path, sizeof(address.sun_path) - 1);
        if (connect(fd_.get(), reinterpret_cast<const sockaddr *>(&address), sizeof(address)) != 0)
            throw_errno("connect to " + path.string());
        greeting_ = receive();
    }

    [[nodiscard]] const Json &greeting() const { return greeting_; }

    /// What it says to "/ethdev/info,0": the value of the key "/ethdev/info".
    Json ask(const std::string &command) {
        if (send(fd_.get(), command.data(), command.size(), 0) < 0)
            throw_errno("ask " + command);
        return receive().at(command.substr(0, command.find(',')));
    }

  private:
    Json receive() {
        pollfd readable{fd_.get(), POLLIN, 0};
        if (poll(&readable, 1, static_cast<int>(kDefaultTimeout.count())) != 1)
            throw std::runtime_error("telemetry does not answer");
        std::string text(64 << 10, '\0');
        const ssize_t size = recv(fd_.get(), text.data(), text.size(), 0);
        if (size < 0)
            throw_errno("read from telemetry");
        return Json::parse(text.substr(0, static_cast<size_t>(size)));
    }

    Fd fd_;
    Json greeting_;
};

class TelemetryOf : public testing::TestWithParam<Mode> {
  protected:
    static constexpr unsigned kQueues = 2;

    TelemetryOf()
        : testpmd([&] {
              const bool remote = GetParam() == Mode::Remote;
              TestpmdOptions options =
                  plugin_options(cabled.app, {remote ? remote_vdev() : "net_tap0,iface=tap0"}, kQueues);
              options.telemetry = true;
              return options;
          }()),
          telemetry(testpmd.runtime_directory().telemetry_socket()) {}

    Cabled cabled;
    Testpmd testpmd;
    Telemetry telemetry;
};
INSTANTIATE_TEST_SUITE_P(Modes, TelemetryOf, testing::Values(Mode::Local, Mode::Remote),
                         [](const auto &instance) { return name_of(instance.param); });

TEST_P(TelemetryOf, APortIsWhatItIsAndCountsWhatIsSent) {
    const bool remote = GetParam() == Mode::Remote;
    EXPECT_EQ(telemetry.greeting().at("pid"), testpmd.process().pid());
    EXPECT_EQ(telemetry.ask("/ethdev/list"), Json({0}));
    const Link tap = cabled.app.link("tap0");
    Json info = telemetry.ask("/ethdev/info,0");
    EXPECT_EQ(info.at("name"), "net_tap0");
    EXPECT_EQ(info.at("nb_rx_queues"), kQueues);
    EXPECT_EQ(info.at("nb_tx_queues"), kQueues);
    EXPECT_EQ(info.at("mtu"), 1500);
    EXPECT_EQ(info.at("promiscuous"), 1);
    EXPECT_EQ(info.at("dev_started"), 1);
    std::string mac = info.at("mac_addr");
    std::transform(mac.begin(), mac.end(), mac.begin(), [](unsigned char c) { return std::tolower(c); });
    EXPECT_EQ(mac, tap.mac.text());

    testpmd.command("port config all rss udp");
    start_forwarding(testpmd, "rxonly");
    PacketSocket sender(remote ? cabled.outside : cabled.app, remote ? "peer3" : "tap0", {.receive = false});
    const auto config = default_config(kQueues);
    std::map<std::string, uint64_t> wanted;
    for (const packet::Bytes &frame : flows_to(tap.mac, 50)) {
        ASSERT_TRUE(sender.send(frame));
        const std::string queue = "rx_q" + std::to_string(expected_steering(config, frame).queue);
        wanted[queue + "_packets"]++;
        wanted[queue + "_bytes"] += frame.size();
        wanted["rx_good_packets"]++;
        wanted["rx_good_bytes"] += frame.size();
    }
    ASSERT_EQ(testpmd.packets(50).size(), 50U);
    const Json stats = telemetry.ask("/ethdev/stats,0");
    EXPECT_EQ(stats.at("ipackets"), wanted.at("rx_good_packets"));
    EXPECT_EQ(stats.at("ibytes"), wanted.at("rx_good_bytes"));
    for (const char *none : {"opackets", "imissed", "ierrors", "oerrors", "rx_nombuf"})
        EXPECT_EQ(stats.at(none), 0) << none;
    const Json xstats = telemetry.ask("/ethdev/xstats,0");
    for (const auto &[name, value] : wanted)
        EXPECT_EQ(xstats.at(name), value) << name;
    EXPECT_EQ(xstats.at("rx_filtered"), 0);
    testpmd.command("stop");
    testpmd.command("start tx_first");
    testpmd.command("stop");
    EXPECT_EQ(telemetry.ask("/ethdev/stats,0").at("opackets"), 32 * kQueues);

    const Json up = telemetry.ask("/ethdev/link_status,0");
    EXPECT_EQ(up.at("status"), "UP");
    EXPECT_EQ(up.at("duplex"), "full-duplex");
    testpmd.command("set link-down port 0");
    EXPECT_EQ(telemetry.ask("/ethdev/link_status,0").at("status"), "DOWN");
    testpmd.command("set link-up port 0");
    ASSERT_TRUE(cabled.app.wait_link("tap0", [](const Link &link) { return link.carrier; }));
    EXPECT_EQ(telemetry.ask("/ethdev/link_status,0").at("status"), "UP");

    const std::string dump = telemetry.ask("/ethdev/dump_priv,0").dump();
    EXPECT_TRUE(contains(dump, "tap: tap0, interface " + std::to_string(tap.index))) << dump;
    EXPECT_TRUE(contains(dump, remote ? "remote: eth3" : "remote: none")) << dump;
    EXPECT_TRUE(contains(dump, "delivery: " + tested_rx_mode())) << dump;
    EXPECT_TRUE(contains(dump, "flow rules: 0")) << dump;
    EXPECT_EQ(testpmd.quit(), 0);
}

TEST_P(TelemetryOf, DpdksOwnProgramReadsTheSame) {
    ProcessOptions options{.netns = cabled.app.fd()};
    options.environment = {testpmd.runtime_directory().environment()};
    Process program({"dpdk-telemetry.py", "--file-prefix", testpmd.runtime_directory().file_prefix()}, options);
    program.write("/ethdev/list\n/ethdev/info,0\n/ethdev/stats,0\n/ethdev/stats,1\nquit\n");
    program.close_stdin();
    EXPECT_EQ(program.wait(), 0) << program.output();
    for (const char *expected : {"\"/ethdev/list\"", "\"name\": \"net_tap0\"", "\"ipackets\": 0"})
        EXPECT_TRUE(contains(program.output(), expected)) << expected << " in " << program.output();
    EXPECT_EQ(testpmd.quit(), 0);
}

} // namespace
} // namespace tapflow::test
