// SPDX-License-Identifier: BSD-3-Clause
// "tapflowctl metrics": what it says, and how it serves.
#include "ctl/ctl_fixture.h"

#include "support/wait.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <map>
#include <set>
#include <sstream>

namespace tapflow::test {
namespace {

using Labels = std::map<std::string, std::string>;

struct Sample {
    std::string name;
    Labels labels;
    uint64_t value = 0;
};

/// One line "name{a=\"b\"} 1", read strictly.
class SampleReader {
  public:
    explicit SampleReader(const std::string &line) : line_(line) {}

    Sample read() {
        Sample sample;
        sample.name = name();
        if (take('{')) {
            do {
                const std::string label = name();
                expect("=\"");
                EXPECT_TRUE(sample.labels.emplace(label, quoted()).second) << "twice " << label << " in " << line_;
            } while (take(','));
            expect("}");
        }
        expect(" ");
        const std::string number = line_.substr(at_);
        EXPECT_TRUE(!number.empty() && number.find_first_not_of("0123456789") == std::string::npos) << line_;
        sample.value = std::stoull(number);
        return sample;
    }

  private:
    [[nodiscard]] char next() const { return at_ < line_.size() ? line_[at_] : '\0'; }
    bool take(char wanted) {
        const bool there = next() == wanted;
        at_ += there ? 1U : 0U;
        return there;
    }
    std::string name() {
        const size_t end =
            std::min(line_.find_first_not_of("abcdefghijklmnopqrstuvwxyz_0123456789", at_), line_.size());
        const std::string word = line_.substr(at_, end - at_);
        EXPECT_FALSE(word.empty()) << line_;
        at_ = end;
        return word;
    }
    void expect(const std::string &text) {
        EXPECT_EQ(line_.substr(at_, text.size()), text) << line_;
        at_ += text.size();
    }
    std::string quoted() {
        std::string value;
        for (; next() != '"' && next() != '\0'; at_++) {
            if (next() == '\\')
                at_++;
            value += next();
        }
        expect("\"");
        return value;
    }

    const std::string line_;
    size_t at_ = 0;
};

/// Text as https://openmetrics.io has it, as far as we write it. What is wrong with it is a failure.
std::vector<Sample> parse_openmetrics(const std::string &text) {
    EXPECT_TRUE(text.ends_with("\n# EOF\n")) << text.substr(text.size() - std::min<size_t>(text.size(), 200));
    std::vector<Sample> samples;
    std::map<std::string, std::string> types;
    std::set<std::pair<std::string, Labels>> seen;
    std::string family;
    std::istringstream lines(text.substr(0, text.size() - std::min<size_t>(text.size(), 6)));
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("# ")) {
            std::istringstream words(line);
            std::string hash, keyword, name, rest;
            words >> hash >> keyword >> name;
            std::getline(words >> std::ws, rest);
            EXPECT_FALSE(rest.empty()) << line;
            if (keyword == "TYPE") {
                EXPECT_TRUE(types.emplace(name, rest).second) << "twice: " << line;
                EXPECT_FALSE(name.ends_with("_total") || name.ends_with("_info")) << line;
                family = name;
            } else if (keyword == "UNIT") {
                EXPECT_TRUE(name.ends_with('_' + rest)) << line;
            } else {
                EXPECT_EQ(keyword, "HELP") << line;
            }
            EXPECT_EQ(name, family) << line;
            continue;
        }
        Sample sample = SampleReader(line).read();
        const std::string &type = types[family];
        EXPECT_EQ(sample.name, family + (type == "counter" ? "_total" : type == "info" ? "_info" : "")) << line;
        EXPECT_TRUE(seen.emplace(sample.name, sample.labels).second) << "twice: " << line;
        samples.push_back(std::move(sample));
    }
    return samples;
}

/// The one of the test's own port; a label that is not named may be anything.
std::optional<uint64_t> value_of(const std::vector<Sample> &samples, const std::string &name,
                                 const Labels &labels = {}) {
    std::optional<uint64_t> found;
    for (const Sample &sample : samples) {
        const bool fits = std::all_of(labels.begin(), labels.end(), [&](const auto &label) {
            const auto own = sample.labels.find(label.first);
            return own != sample.labels.end() && own->second == label.second;
        });
        const auto port = sample.labels.find("port");
        if (!fits || sample.name != name || sample.labels.contains("netns") || port == sample.labels.end() ||
            port->second != "tap0")
            continue;
        EXPECT_FALSE(found) << "several " << name;
        found = sample.value;
    }
    return found;
}

using CtlMetrics = CtlTest;

TEST_F(CtlMetrics, AreOpenMetricsText) {
    open();
    create("pattern eth / ipv4 / udp dst is 9 / end actions count / drop / end");
    create("pattern eth / ipv4 / udp dst is 8 / end actions queue index 1 / end");
    send_udp(9, 3);
    send_udp(8, 2);
    port->received(1).packets = 7;
    port->received(1).bytes = 500;
    port->sent(0).packets = (1ULL << 53U);
    const Said said = tapflowctl({"metrics", "--rules"});
    EXPECT_EQ(said.status, 0) << said.err;
    const std::vector<Sample> samples = parse_openmetrics(said.out);
    EXPECT_EQ(value_of(samples, "tapflow_port_info",
                       {{"device", "net_tap0"},
                        {"pid", std::to_string(getpid())},
                        {"delivery", "ring"},
                        {"classifier", "bpf"},
                        {"version", TAPFLOW_VERSION}}),
              1U);
    EXPECT_EQ(value_of(samples, "tapflow_port_started"), 1U);
    EXPECT_EQ(value_of(samples, "tapflow_process_running"), 1U);
    EXPECT_EQ(value_of(samples, "tapflow_lease_valid"), std::nullopt) << "a local port has none";
    EXPECT_EQ(value_of(samples, "tapflow_rx_packets_total", {{"queue", "0"}}), 0U);
    EXPECT_EQ(value_of(samples, "tapflow_rx_packets_total", {{"queue", "1"}}), 7U);
    EXPECT_EQ(value_of(samples, "tapflow_rx_bytes_total", {{"queue", "1"}}), 500U);
    EXPECT_EQ(value_of(samples, "tapflow_tx_packets_total", {{"queue", "0"}}), 1ULL << 53U);
    EXPECT_EQ(value_of(samples, "tapflow_lost_packets_total", {{"reason", "rule_dropped"}}), 3U);
    EXPECT_EQ(value_of(samples, "tapflow_ring_size_bytes", {{"queue", "0"}}), 65536U);
    EXPECT_EQ(value_of(samples, "tapflow_ring_used_bytes", {{"queue", "0"}}), 0U);
    EXPECT_GT(value_of(samples, "tapflow_ring_used_bytes", {{"queue", "1"}}), 100U);
    EXPECT_EQ(value_of(samples, "tapflow_rules"), 2U);
    EXPECT_EQ(value_of(samples, "tapflow_rule_packets_total", {{"rule", "1"}}), 3U);
    EXPECT_EQ(value_of(samples, "tapflow_rule_bytes_total", {{"rule", "1"}}), 180U);
    EXPECT_EQ(value_of(samples, "tapflow_rule_packets_total", {{"rule", "2"}}), std::nullopt);
    send_udp(9, 2);
    const auto later = parse_openmetrics(tapflowctl({"metrics"}).out);
    EXPECT_EQ(value_of(later, "tapflow_lost_packets_total", {{"reason", "rule_dropped"}}), 5U);
    EXPECT_EQ(value_of(later, "tapflow_rule_packets_total"), std::nullopt) << "--rules was not said";
}

TEST_F(CtlMetrics, OfARemotePortByFd) {
    NetNs wire;
    add_veth(ns, "eth3", wire, "far0");
    engine::PortOptions options = named("tap0");
    options.remote = "eth3";
    options.rx = engine::RxMode::Fd;
    open(options);
    const auto samples = parse_openmetrics(tapflowctl({"metrics"}).out);
    EXPECT_EQ(value_of(samples, "tapflow_port_info", {{"remote", "eth3"}, {"delivery", "fd"}}), 1U);
    EXPECT_TRUE(value_of(samples, "tapflow_lease_valid"));
    EXPECT_EQ(value_of(samples, "tapflow_tap_drops_total"), 0U);
    EXPECT_EQ(value_of(samples, "tapflow_ring_size_bytes"), std::nullopt);
}

TEST_F(CtlMetrics, HaveJsonOfTheSame) {
    open();
    const nlohmann::ordered_json json = valid_json(tapflowctl({"metrics", "--json"}), "metrics");
    for (const nlohmann::ordered_json &family : json["families"])
        if (family["name"] == "tapflow_port_started") {
            EXPECT_EQ(family["type"], "gauge");
            EXPECT_TRUE(std::any_of(family["samples"].begin(), family["samples"].end(), [](const auto &sample) {
                return sample["labels"] == nlohmann::json{{"port", "tap0"}} && sample["value"] == 1;
            })) << family;
        }
}

/// A server of metrics in the test's namespace.
class Served {
  public:
    explicit Served(const std::string &where = "0") : process_({TAPFLOWCTL, "metrics", "--listen", where}) {
        const std::string line = process_.wait_for("/metrics\n");
        const size_t colon = line.rfind(':');
        address_ = line.substr(0, colon);
        port_ = static_cast<uint16_t>(std::stoul(line.substr(colon + 1)));
    }
    [[nodiscard]] const std::string &address() const { return address_; }
    [[nodiscard]] Process &process() { return process_; }

    [[nodiscard]] Fd connect() const {
        Fd socket = owned(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(port_);
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (::connect(socket.get(), reinterpret_cast<const sockaddr *>(&to), sizeof(to)) != 0)
            throw_errno("connect");
        return socket;
    }
    /// What comes back, until the server closes the connection.
    [[nodiscard]] std::string ask(const std::string &request) const {
        const Fd socket = connect();
        // A server that refuses need not read everything.
        (void)!send(socket.get(), request.data(), request.size(), MSG_NOSIGNAL);
        return answer(socket);
    }
    static std::string answer(const Fd &socket) {
        std::string text;
        std::array<char, 4096> part{};
        const auto deadline = Clock::now() + kDefaultTimeout;
        for (;;) {
            pollfd wanted{socket.get(), POLLIN, 0};
            if (poll(&wanted, 1, poll_timeout(deadline)) != 1)
                throw std::runtime_error("no end of an answer: " + text.substr(0, 500));
            const ssize_t length = recv(socket.get(), part.data(), part.size(), 0);
            if (length <= 0)
                return text;
            text.append(part.data(), static_cast<size_t>(length));
        }
    }
    static constexpr const char *kGet = "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    [[nodiscard]] std::vector<Sample> scrape() const {
        const std::string text = ask(kGet);
        EXPECT_TRUE(text.starts_with("HTTP/1.1 200 OK\r\n")) << text.substr(0, 300);
        EXPECT_NE(text.find("Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"),
                  std::string::npos);
        return parse_openmetrics(text.substr(text.find("\r\n\r\n") + 4));
    }

  private:
    Process process_;
    std::string address_;
    uint16_t port_ = 0;
};

TEST_F(CtlMetrics, AreServedOnLoopback) {
    open();
    Served served;
    EXPECT_EQ(served.address(), "Listening at http://127.0.0.1");
    EXPECT_EQ(value_of(served.scrape(), "tapflow_rx_packets_total", {{"queue", "1"}}), 0U);
    port->received(1).packets = 5;
    EXPECT_EQ(value_of(served.scrape(), "tapflow_rx_packets_total", {{"queue", "1"}}), 5U);
    port.reset();
    EXPECT_EQ(value_of(served.scrape(), "tapflow_rx_packets_total", {{"queue", "1"}}), std::nullopt);
    served.process().kill(SIGTERM);
    EXPECT_EQ(served.process().wait(), 128 + SIGTERM);
}

TEST_F(CtlMetrics, AreServedToTwoAtOnce) {
    open();
    Served served;
    std::vector<Fd> sockets;
    for (int i = 0; i < 2; i++)
        sockets.push_back(served.connect());
    for (const Fd &socket : sockets) {
        const std::string_view request = Served::kGet;
        ASSERT_EQ(send(socket.get(), request.data(), request.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(request.size()));
    }
    for (const Fd &socket : sockets) {
        const std::string text = Served::answer(socket);
        EXPECT_EQ(value_of(parse_openmetrics(text.substr(text.find("\r\n\r\n") + 4)), "tapflow_port_started"), 1U);
    }
}

TEST_F(CtlMetrics, SurviveBadRequests) {
    open();
    Served served;
    EXPECT_TRUE(served.ask("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 200"));
    EXPECT_TRUE(served.ask("GET /etc/passwd HTTP/1.1\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 404"));
    EXPECT_TRUE(served.ask("GET /../../etc/passwd HTTP/1.1\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 404"));
    const std::string head = served.ask("HEAD /metrics HTTP/1.1\r\nConnection: close\r\n\r\n");
    EXPECT_TRUE(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n")) << head.substr(0, 300);
    const std::vector<std::string> bad{
        "\r\n\r\n",
        "nonsense\r\n\r\n",
        "GET /metrics\r\n\r\n",
        "DELETE /metrics HTTP/1.1\r\nConnection: close\r\n\r\n",
        "POST /metrics HTTP/1.1\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        "POST /metrics HTTP/1.1\r\nConnection: close\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "GET /" + std::string(100'000, 'a') + " HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nX: " + std::string(100'000, 'a') + "\r\n\r\n",
        std::string("\0\xff\x16\x03\x01", 5) + std::string(1000, '\x80') + "\r\n\r\n",
    };
    for (const std::string &request : bad) {
        SCOPED_TRACE(request.substr(0, 60));
        EXPECT_FALSE(served.ask(request).starts_with("HTTP/1.1 200"));
    }
    // Who asks half a question, or nothing, keeps nobody else waiting for long.
    const Fd half = served.connect();
    ASSERT_EQ(send(half.get(), "GET /met", 8, MSG_NOSIGNAL), 8);
    const Fd silent = served.connect();
    const Fd gone = served.connect();
    EXPECT_EQ(value_of(served.scrape(), "tapflow_port_started"), 1U);
    EXPECT_TRUE(served.process().running());
}

TEST_F(CtlMetrics, ListenWhereTheyAreTold) {
    open();
    EXPECT_EQ(Served("127.0.0.2:0").address(), "Listening at http://127.0.0.2");
    EXPECT_EQ(Served("[::1]:0").address(), "Listening at http://[::1]");
    EXPECT_EQ(Served(":0").address(), "Listening at http://127.0.0.1");
    for (const char *where : {"", "x", "65536", "-1", "127.0.0.1:", "127.0.0.1:x", "192.0.2.1:0", "[::1", "1:2:3",
                              "\x1b[m:1", "127.0.0.1:1 "}) {
        SCOPED_TRACE(where);
        expect_refused(tapflowctl({"metrics", "--listen", where}));
    }
    expect_refused(tapflowctl({"metrics", "--listen", "0", "--json"}));
    Served served("127.0.0.1:4711");
    expect_refused(tapflowctl({"metrics", "--listen", "127.0.0.1:4711"}));
}

} // namespace
} // namespace tapflow::test
