// SPDX-License-Identifier: BSD-3-Clause
// A port as DPDK's telemetry shows it, by its socket and by dpdk-telemetry.py.
#include "flow/text.h"
#include "pmd/flow_rig.h"

#include <nlohmann/json.hpp>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>

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

// ---- /tapflow/...

/// A rule's pieces, put together.
std::string text_of(const Json &rule) {
    std::string text;
    for (const std::string piece : rule.at("text")) {
        EXPECT_LT(piece.size(), 128U) << piece;
        text += (text.empty() ? "" : " ") + piece;
    }
    return text;
}

TEST_P(TelemetryOf, OwnCommandsAreListedWithTheirHelp) {
    const Json commands = telemetry.ask("/");
    for (const char *name : {"/tapflow/ports", "/tapflow/queues", "/tapflow/rss", "/tapflow/rules"}) {
        EXPECT_EQ(std::count(commands.begin(), commands.end(), name), 1) << name;
        const std::string help = telemetry.ask(std::string("/help,") + name).at(name);
        EXPECT_TRUE(help.starts_with("Returns ")) << help;
        EXPECT_TRUE(help.ends_with(")") || contains(help, "port_id")) << help;
    }
    EXPECT_EQ(testpmd.quit(), 0);
}

/// A port's flags but for the one that delivery by fd has for itself.
Json flags_of(const Json &port) {
    Json flags = Json::array();
    for (const Json &flag : port.at("flags"))
        if (flag != "trailer")
            flags.push_back(flag);
    return flags;
}

TEST_P(TelemetryOf, APortSaysWhatItIsMadeOf) {
    const bool remote = GetParam() == Mode::Remote;
    EXPECT_EQ(telemetry.ask("/tapflow/ports"), Json({0}));
    const Link tap = cabled.app.link("tap0");
    const Json port = telemetry.ask("/tapflow/ports,0");
    EXPECT_EQ(port.at("port_id"), 0);
    EXPECT_EQ(port.at("device"), "net_tap0");
    EXPECT_EQ(port.at("tap"), "tap0");
    EXPECT_EQ(port.at("tap_ifindex"), tap.index);
    EXPECT_EQ(port.at("layer"), "ethernet");
    EXPECT_EQ(port.at("delivery"), tested_rx_mode());
    EXPECT_EQ(port.at("classifier"), tested_classifier());
    EXPECT_EQ(port.at("rx_queues"), kQueues);
    EXPECT_EQ(port.at("tx_queues"), kQueues);
    EXPECT_EQ(port.at("mtu"), 1500);
    EXPECT_EQ(port.at("mac"), tap.mac.text());
    EXPECT_EQ(port.at("rules"), 0);
    EXPECT_EQ(flags_of(port), Json({"started", "promiscuous"}));
    EXPECT_EQ(port.contains("remote"), remote);
    EXPECT_EQ(port.contains("lease"), remote);
    if (remote) {
        EXPECT_EQ(port.at("remote"), "eth3");
        EXPECT_EQ(port.at("lease"), "held");
        EXPECT_LT(port.at("lease_age_ms"), 1500);
    }
    testpmd.command("set promisc 0 off");
    testpmd.command("set allmulti 0 on");
    EXPECT_EQ(flags_of(telemetry.ask("/tapflow/ports,0")), Json({"started", "allmulticast"}));
    testpmd.command("port stop 0");
    testpmd.command("port config mtu 0 1400");
    const Json stopped = telemetry.ask("/tapflow/ports,0");
    EXPECT_EQ(flags_of(stopped), Json({"allmulticast"}));
    EXPECT_EQ(stopped.at("mtu"), 1400);
    testpmd.command("port config all rxq 5");
    testpmd.command("port config all txq 3");
    testpmd.command("port start 0");
    const Json grown = telemetry.ask("/tapflow/ports,0");
    EXPECT_EQ(grown.at("rx_queues"), 5);
    EXPECT_EQ(grown.at("tx_queues"), 3);
    EXPECT_EQ(testpmd.quit(), 0);
}

TEST_P(TelemetryOf, WhatIsNoPortOfOursIsAnErrorAsDpdksOwn) {
    testpmd.command("port attach net_null0");
    EXPECT_EQ(telemetry.ask("/ethdev/list"), Json({0, 1}));
    EXPECT_EQ(telemetry.ask("/tapflow/ports"), Json({0}));
    ASSERT_TRUE(telemetry.ask("/ethdev/stats,7").is_null());
    for (const std::string command : {"/tapflow/ports", "/tapflow/rules", "/tapflow/rss", "/tapflow/queues"}) {
        for (const char *wrong : {"1", "2", "65535", "65536", "99999999999999999999", "-1", "+0", " 0", "0 ", "x",
                                  "0x0", "0,", "0,x", "0,-1", "0,0,0", "0,99999999999999999999", ","}) {
            const bool pages = command == "/tapflow/rules" || command == "/tapflow/queues";
            ASSERT_TRUE(telemetry.ask(command + ',' + wrong).is_null()) << command << ',' << wrong;
            ASSERT_EQ(telemetry.ask(command + ",0,1").is_null(), !pages) << command;
        }
        EXPECT_FALSE(telemetry.ask(command + ",0").is_null());
        EXPECT_EQ(telemetry.ask(command).is_null(), command != "/tapflow/ports") << command;
    }
    EXPECT_EQ(testpmd.quit(), 0);
}

TEST_P(TelemetryOf, RulesAreInTestpmdsWordsWithWhatTheyHaveCounted) {
    const bool remote = GetParam() == Mode::Remote;
    const Json none = telemetry.ask("/tapflow/rules,0");
    EXPECT_EQ(none, Json({{"total", 0}, {"shown", 0}}));
    create_flow(testpmd, "priority 2 " + udp_pattern(53) + "actions count / queue index 1 / end");
    create_flow(testpmd, "group 3 egress pattern eth / ipv6 / tcp / end actions drop / end");
    create_flow(testpmd, "ingress pattern eth / ipv4 src is 10.1.2.3 / tcp src spec 80 src mask 0xfff0 / end actions "
                         "rss func toeplitz types ipv4-tcp ipv4-udp ipv6-tcp ipv6-udp end key " +
                             std::string(kOtherKey) + " key_len 40 queues 1 0 1 1 end / mark id 77 / end");
    start_forwarding(testpmd, "rxonly");
    PacketSocket sender(remote ? cabled.outside : cabled.app, remote ? "peer3" : "tap0", {.receive = false});
    const packet::Bytes frame = udp_to(cabled.app.link("tap0").mac, 53).payload(30).bytes();
    for (int i = 0; i < 3; ++i)
        ASSERT_TRUE(sender.send(frame));
    ASSERT_EQ(testpmd.packets(3).size(), 3U);

    const Json rules = telemetry.ask("/tapflow/rules,0");
    EXPECT_EQ(rules.at("total"), 3);
    EXPECT_EQ(rules.at("shown"), 3);
    EXPECT_FALSE(rules.contains("next"));
    const Json &list = rules.at("rules");
    ASSERT_EQ(list.size(), 3U);
    const Json &counted = list.at("1");
    EXPECT_EQ(counted.at("group"), 0);
    EXPECT_EQ(counted.at("priority"), 2);
    EXPECT_EQ(counted.at("direction"), "ingress");
    EXPECT_EQ(counted.at("hits"), 3);
    EXPECT_EQ(counted.at("bytes"), 3 * frame.size());
    EXPECT_EQ(list.at("2").at("group"), 3);
    EXPECT_EQ(list.at("2").at("direction"), "egress");
    EXPECT_FALSE(list.at("2").contains("hits"));
    EXPECT_GT(list.at("3").at("text").size(), 1U);
    const std::string dump = testpmd.command("flow dump 0 all");
    for (const auto &[id, rule] : list.items()) {
        const std::string text = text_of(rule);
        EXPECT_TRUE(contains(dump, text)) << text << "\nis not in\n" << dump;
        const auto read = flow::parse_rule(text);
        ASSERT_TRUE(read) << read.error().message();
        EXPECT_EQ(flow::to_text(*read), text);
    }
    ASSERT_TRUE(destroy_flow(testpmd, 1));
    const Json rest = telemetry.ask("/tapflow/rules,0");
    EXPECT_EQ(rest.at("total"), 2);
    EXPECT_FALSE(rest.at("rules").contains("2"));
    EXPECT_EQ(testpmd.quit(), 0);
}

TEST_P(TelemetryOf, ManyRulesComeInPages) {
    constexpr unsigned kRules = 120;
    for (unsigned i = 0; i < kRules; ++i)
        create_flow(testpmd,
                    udp_pattern(i + 1) + "actions count / mark id " + std::to_string(i) + " / queue index 0 / end");
    std::set<unsigned> seen;
    std::string from;
    unsigned pages = 0;
    for (bool more = true; more; ++pages) {
        const Json page = telemetry.ask("/tapflow/rules,0" + from);
        EXPECT_EQ(page.at("total"), kRules);
        EXPECT_EQ(page.at("shown"), page.at("rules").size());
        for (const auto &[id, rule] : page.at("rules").items()) {
            const auto number = static_cast<unsigned>(std::stoul(id));
            EXPECT_TRUE(seen.insert(number).second) << id;
            EXPECT_TRUE(contains(text_of(rule), "udp dst is " + std::to_string(number) + " / end")) << rule;
        }
        more = page.contains("next");
        if (more) {
            EXPECT_EQ(page.at("next"), *seen.rbegin() + 1);
            from = "," + page.at("next").dump();
        }
        ASSERT_LT(pages, kRules);
    }
    EXPECT_EQ(seen.size(), kRules);
    EXPECT_GT(pages, 1U);
    EXPECT_EQ(telemetry.ask("/tapflow/rules,0," + std::to_string(kRules)).at("shown"), 1);
    EXPECT_EQ(telemetry.ask("/tapflow/rules,0," + std::to_string(kRules + 1)).at("shown"), 0);
    EXPECT_EQ(telemetry.ask("/tapflow/rules,0,18446744073709551615").at("shown"), 0);
    EXPECT_EQ(testpmd.quit(), 0);
}

TEST_P(TelemetryOf, RssIsWhatHasBeenSet) {
    const Json before = telemetry.ask("/tapflow/rss,0");
    const auto config = default_config(kQueues);
    EXPECT_EQ(before.at("key"), hex(config.key));
    EXPECT_EQ(before.at("function"), "toeplitz");
    EXPECT_EQ(before.at("reta").get<std::vector<uint16_t>>(), config.reta);
    testpmd.command("port config 0 rss-hash-key ipv4-udp " + std::string(kOtherKey));
    set_types(testpmd, "udp");
    std::vector<uint16_t> reta(rss::kDefaultRetaSize);
    for (size_t i = 0; i < reta.size(); ++i)
        reta[i] = static_cast<uint16_t>(i % 3 == 0);
    set_reta(testpmd, reta);
    const Json after = telemetry.ask("/tapflow/rss,0");
    EXPECT_EQ(after.at("key"), kOtherKey);
    EXPECT_EQ(after.at("types"), Json({"ipv4-udp", "ipv6-udp", "ipv6-udp-ex"}));
    EXPECT_EQ(after.at("reta").get<std::vector<uint16_t>>(), reta);
    EXPECT_EQ(testpmd.quit(), 0);
}

TEST_P(TelemetryOf, QueuesSayWhatTheyHaveReceivedAndWhatWaits) {
    const bool remote = GetParam() == Mode::Remote;
    const bool ring = tested_rx_mode() == "ring";
    set_types(testpmd, "none"); // all to queue 0
    PacketSocket sender(remote ? cabled.outside : cabled.app, remote ? "peer3" : "tap0", {.receive = false});
    const packet::Bytes frame = udp_to(cabled.app.link("tap0").mac, 9).payload(30).bytes();
    ASSERT_TRUE(sender.send(frame)); // nobody reads yet
    const Json waiting = telemetry.ask("/tapflow/queues,0");
    EXPECT_EQ(waiting.at("rx_queues"), kQueues);
    EXPECT_EQ(waiting.at("tx_queues"), kQueues);
    EXPECT_EQ(waiting.at("missed"), 0);
    EXPECT_FALSE(waiting.contains("next"));
    EXPECT_EQ(waiting.at("rx_q0").at("packets"), 0);
    EXPECT_EQ(waiting.at("rx_q0").contains("ring_bytes"), ring);
    if (ring) {
        EXPECT_EQ(waiting.at("rx_q0").at("ring_bytes"), 1 << 20);
        EXPECT_EQ(waiting.at("rx_q1").at("ring_unread"), 0);
        EXPECT_GT(waiting.at("rx_q0").at("ring_unread"), frame.size());
        EXPECT_EQ(waiting.at("rx_q0").at("ring_used"), waiting.at("rx_q0").at("ring_unread"));
    }
    start_forwarding(testpmd, "rxonly");
    ASSERT_EQ(testpmd.packets(1).size(), 1U);
    testpmd.command("stop");
    testpmd.command("port 0 rxq 1 stop");
    testpmd.command("port 0 txq 0 stop");
    const Json after = telemetry.ask("/tapflow/queues,0");
    EXPECT_EQ(after.at("rx_q0").at("packets"), 1);
    EXPECT_EQ(after.at("rx_q0").at("bytes"), frame.size());
    EXPECT_EQ(after.at("rx_q0").at("stopped"), 0);
    EXPECT_EQ(after.at("rx_q1").at("packets"), 0);
    EXPECT_EQ(after.at("rx_q1").at("stopped"), 1);
    EXPECT_EQ(after.at("tx_q0").at("stopped"), 1);
    EXPECT_EQ(after.at("tx_q1").at("stopped"), 0);
    if (ring) {
        EXPECT_EQ(after.at("rx_q0").at("ring_unread"), 0);
    }
    for (const char *counter : {"errors", "ring_full", "ring_stuck", "no_mbuf", "oversize", "malformed"})
        EXPECT_EQ(after.at("rx_q0").at(counter), 0) << counter;
    for (const char *counter : {"packets", "bytes", "oversize", "malformed", "link_down"})
        EXPECT_EQ(after.at("tx_q0").at(counter), 0) << counter;
    EXPECT_EQ(testpmd.quit(), 0);
}

TEST_P(TelemetryOf, ManyQueuesComeInPages) {
    testpmd.command("port stop 0");
    testpmd.command("port config all rxq 20");
    testpmd.command("port config all txq 33");
    testpmd.command("port start 0");
    std::set<std::string> queues;
    unsigned pages = 0;
    std::string from;
    for (bool more = true; more; ++pages) {
        const Json page = telemetry.ask("/tapflow/queues,0" + from);
        for (const auto &[name, value] : page.items())
            EXPECT_TRUE(!value.is_object() || queues.insert(name).second) << name;
        more = page.contains("next");
        if (more)
            from = "," + page.at("next").dump();
        ASSERT_LT(pages, 33U);
    }
    EXPECT_EQ(pages, 3U);
    EXPECT_EQ(queues.size(), 20U + 33U);
    EXPECT_TRUE(queues.contains("rx_q19") && queues.contains("tx_q32"));
    EXPECT_EQ(testpmd.quit(), 0);
}

TEST_P(TelemetryOf, APortMayGoAndComeBackWhileItIsAskedAbout) {
    const std::string vdev = with_tested_modes(GetParam() == Mode::Remote ? remote_vdev() : "net_tap0,iface=tap0");
    std::atomic<unsigned> answers = 0;
    std::atomic<unsigned> refusals = 0;
    std::string trouble;
    std::jthread asking([&](const std::stop_token &stop) {
        try {
            Telemetry other(testpmd.runtime_directory().telemetry_socket());
            while (!stop.stop_requested())
                for (const char *command :
                     {"/tapflow/ports,0", "/tapflow/rules,0", "/tapflow/rss,0", "/tapflow/queues,0"})
                    (other.ask(command).is_null() ? refusals : answers)++;
        } catch (const std::exception &error) {
            trouble = error.what();
        }
    });
    for (int i = 0; i < 10; ++i) {
        create_flow(testpmd, udp_pattern(53) + "actions count / queue index 1 / end");
        for (const char *line : {"port stop 0", "port close 0", "device detach net_tap0"})
            testpmd.command(line);
        const unsigned refused = refusals;
        ASSERT_TRUE(wait_until([&] { return refusals > refused; }));
        ASSERT_TRUE(contains(testpmd.command("port attach " + vdev), "Port 0 is attached"));
        const unsigned answered = answers;
        ASSERT_TRUE(wait_until([&] { return answers > answered; }));
        testpmd.command("port start 0");
    }
    asking.request_stop();
    asking.join();
    EXPECT_EQ(trouble, "");
    EXPECT_EQ(testpmd.quit(), 0);
}

} // namespace
} // namespace tapflow::test
