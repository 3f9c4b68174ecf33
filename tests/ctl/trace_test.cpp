// SPDX-License-Identifier: BSD-3-Clause
// "tapflowctl trace" as a program.
#include "ctl/captured.h"
#include "ctl/ctl_fixture.h"
#include "ctl/files.h"

#include "support/wait.h"
#include "tapflowctl/pcapng.h"
#include "tapflowctl/trace_filter.h"

#include <arpa/inet.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <sstream>

namespace tapflow::test {
namespace {

using packet::Bytes;

std::string read_file(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

/// Options of one code, in order, of the blocks of one type: what libpcap does not show.
std::vector<std::string> options_of(const std::string &file, uint32_t block_type, size_t fixed, uint16_t code) {
    std::vector<std::string> found;
    const auto u32 = [&](size_t at) {
        uint32_t value = 0;
        std::memcpy(&value, file.data() + at, sizeof(value));
        return value;
    };
    const auto u16 = [&](size_t at) {
        uint16_t value = 0;
        std::memcpy(&value, file.data() + at, sizeof(value));
        return value;
    };
    for (size_t at = 0; at + 12 <= file.size(); at += u32(at + 4)) {
        const size_t end = at + u32(at + 4) - 4;
        EXPECT_EQ(u32(end), u32(at + 4)) << "a block's lengths differ";
        if (u32(at) != block_type)
            continue;
        size_t option = at + 8 + fixed;
        if (block_type == 6) // behind the packet
            option += (u32(at + 20) + 3U) / 4 * 4;
        for (; option + 4 <= end && u16(option) != 0; option += 4 + (u16(option + 2) + 3U) / 4 * 4)
            if (u16(option) == code)
                found.push_back(file.substr(option + 4, u16(option + 2)));
    }
    return found;
}
std::vector<std::string> comments_of(const std::string &file) { return options_of(file, 6, 20, 1); }

TEST(Pcapng, IsReadByLibpcapAndHasItsComments) {
    const TemporaryDirectory directory;
    const std::string path = directory.file("written.pcapng");
    const Bytes odd{1, 2, 3, 4, 5};
    const Bytes large(60000, 0x5a);
    {
        auto writer = must(ctl::PcapngWriter::create(path, "a test"));
        EXPECT_EQ(must(writer.add_interface("tap0", 65280)), 0U);
        EXPECT_EQ(must(writer.add_interface("eth3", 65280)), 1U);
        must(writer.add(
            {.interface = 0, .time_ns = 1'700'000'000'123'456'789, .length = 5, .frame = odd, .comment = "queue 3"}));
        must(writer.add(
            {.interface = 1, .time_ns = 1'700'000'001'000'000'000, .length = 65000, .frame = large, .comment = ""}));
        must(writer.flush());
    }
    const auto packets = read_by_libpcap(path);
    ASSERT_EQ(packets.size(), 2U);
    EXPECT_EQ(packets[0].time_ns, 1'700'000'000'123'456'789U);
    EXPECT_EQ(packets[0].frame, odd);
    EXPECT_EQ(packets[1].frame, large);
    EXPECT_EQ(packets[1].length, 65000U);
    const std::string file = read_file(path);
    EXPECT_EQ(comments_of(file), (std::vector<std::string>{"queue 3", ""}));
    EXPECT_EQ(options_of(file, 1, 8, 2), (std::vector<std::string>{"tap0", "eth3"}));
}

TEST(Pcapng, SaysWhyAFileCannotBeWritten) {
    const auto none = ctl::PcapngWriter::create("/nonexistent/file", "a test");
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().code, ENOENT);
    auto full = must(ctl::PcapngWriter::create("/dev/full", "a test"));
    const auto flushed = full.flush();
    ASSERT_FALSE(flushed);
    EXPECT_EQ(flushed.error().code, ENOSPC);
}

std::vector<std::string> words(const std::string &text) {
    std::istringstream stream(text);
    return {std::istream_iterator<std::string>(stream), {}};
}

TEST(TraceFilter, TakesWordsThatAgree) {
    const auto all = must(ctl::parse_trace_filter({}));
    EXPECT_EQ(all.fields, 0U);
    const auto filter =
        must(ctl::parse_trace_filter(words("udp src 10.0.0.0/9 dport 53 vlan 7 queue 3 rule 9 mark 5 application")));
    EXPECT_EQ(filter.fields, TAPFLOW_TRACE_FAMILY | TAPFLOW_TRACE_PROTOCOL | TAPFLOW_TRACE_SOURCE |
                                 TAPFLOW_TRACE_DESTINATION_PORT | TAPFLOW_TRACE_VLAN | TAPFLOW_TRACE_QUEUE |
                                 TAPFLOW_TRACE_RULE | TAPFLOW_TRACE_MARK);
    EXPECT_EQ(filter.family, 4U);
    EXPECT_EQ(filter.protocol, 17U);
    EXPECT_EQ(filter.source.words[0], htonl(0x0a000000));
    EXPECT_EQ(filter.source.mask[0], htonl(0xff800000));
    EXPECT_EQ(filter.destination_port, htons(53));
    EXPECT_EQ(filter.flags, TAPFLOW_DECIDED_APPLICATION);
    const auto ip6 = must(ctl::parse_trace_filter(words("host fd00:1234:5678::1/40 kernel application")));
    EXPECT_EQ(ip6.family, 6U);
    EXPECT_EQ(ip6.host.words[0], htonl(0xfd001234));
    EXPECT_EQ(ip6.host.words[1], htonl(0x56000000));
    EXPECT_EQ(ip6.host.mask[1], htonl(0xff000000));
    EXPECT_EQ(ip6.host.mask[2], 0U);
    EXPECT_EQ(ip6.flags, TAPFLOW_DECIDED_APPLICATION | TAPFLOW_DECIDED_KERNEL);
}

TEST(TraceFilter, NamesTheWordThatIsWrong) {
    for (const auto &[text, word] :
         std::vector<std::pair<std::string, std::string>>{{"foo", "foo"},
                                                          {"src", "src"},
                                                          {"src 10.0.0", "src"},
                                                          {"src 10.0.0.1/33", "src"},
                                                          {"src 10.0.0.1/", "src"},
                                                          {"dport 65536", "dport"},
                                                          {"dport -1", "dport"},
                                                          {"queue 3x", "queue"},
                                                          {"vlan 4096", "vlan"},
                                                          {"mark 4294967296", "mark"},
                                                          {"rule 281474976710656", "rule"},
                                                          {"tcp udp", "udp"},
                                                          {"ip ip6", "ip6"},
                                                          {"src 10.0.0.1 dst fd00::1", "dst"},
                                                          {"icmp ip6", "ip6"},
                                                          {"queue 1 queue 2", "queue"},
                                                          {"dropped kernel", "kernel"}}) {
        const auto filter = ctl::parse_trace_filter(words(text));
        ASSERT_FALSE(filter) << text;
        EXPECT_EQ(filter.error().what, "filter word \"" + word + '"') << text;
        EXPECT_NE(filter.error().detail, "") << text;
    }
}

/// A port that takes what is sent through its tap to its own address, and four rules' worth of differences.
class TraceVerb : public CtlTest {
  protected:
    void SetUp() override {
        open();
        create("ingress pattern eth / ipv4 / udp dst is 53 / end actions mark id 5 / queue index 1 / end");
        create("ingress pattern eth / ipv4 / udp dst is 9 / end actions drop / end");
    }
    /// A running tracer that has said that it is in place.
    std::unique_ptr<Process> start(std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(), {TAPFLOWCTL, "trace", "tap0"});
        const bool silent = std::find(arguments.begin(), arguments.end(), "--json") != arguments.end();
        auto process = std::make_unique<Process>(arguments);
        if (!silent)
            process->wait_for("tracing tap0");
        return process;
    }
};

TEST_F(TraceVerb, ShowsALineForEachPacketAndStopsAtTheCount) {
    const auto tracer = start({"-c", "3"});
    send_udp(53, 1);
    send_udp(9, 1);
    send_udp(7, 5);
    EXPECT_EQ(tracer->wait(), 0) << tracer->output();
    const std::string &said = tracer->output();
    EXPECT_NE(said.find(" 10.0.0.1:1000 > 10.0.0.2:53 udp 60 B: queue 1 hash 0x"), std::string::npos) << said;
    EXPECT_NE(said.find(" rule 1 mark 5\n"), std::string::npos) << said;
    EXPECT_NE(said.find(" 10.0.0.1:1000 > 10.0.0.2:9 udp 60 B: dropped: by a rule; rule 2\n"), std::string::npos)
        << said;
    EXPECT_EQ(said.find(" > 10.0.0.2:7 udp"), said.rfind(" > 10.0.0.2:7 udp")) << said;
    EXPECT_NE(said.find("3 told of, 0 lost\n"), std::string::npos) << said;
}

TEST_F(TraceVerb, WritesWhatOthersCanRead) {
    const TemporaryDirectory directory;
    const std::string path = directory.file("trace.pcapng");
    const auto tracer = start({"port", "53", "-c", "2", "-w", path, "--snaplen", "50"});
    send_udp(7, 2);
    send_udp(53, 2);
    EXPECT_EQ(tracer->wait(), 0) << tracer->output();
    const auto packets = read_by_libpcap(path);
    ASSERT_EQ(packets.size(), 2U);
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    for (const Captured &packet : packets) {
        EXPECT_EQ(packet.length, 60U);
        EXPECT_EQ(packet.frame.size(), 50U);
        EXPECT_LE(packet.time_ns / 1'000'000'000, static_cast<uint64_t>(now.tv_sec));
        EXPECT_GT(packet.time_ns / 1'000'000'000, static_cast<uint64_t>(now.tv_sec) - 600);
    }
    const std::string file = read_file(path);
    for (const std::string &comment : comments_of(file)) {
        EXPECT_TRUE(comment.starts_with("queue 1 hash 0x")) << comment;
        EXPECT_TRUE(comment.ends_with(" rule 1 mark 5")) << comment;
    }
    EXPECT_EQ(comments_of(file).size(), 2U);
    EXPECT_EQ(options_of(file, 1, 8, 2), std::vector<std::string>{"tap0"});
}

TEST_F(TraceVerb, PrintsJsonOfItsSchema) {
    // Nothing is said when it is in place: what is sent until it tells of something.
    const auto tracer = start({"--json", "-c", "2", "dport", "53"});
    while (tracer->running() && tracer->read_once(milliseconds(20)).value_or("").empty())
        send_udp(53, 1);
    send_udp(53, 2);
    EXPECT_EQ(tracer->wait(), 0);
    std::istringstream lines(tracer->output());
    std::string line;
    unsigned count = 0;
    for (; std::getline(lines, line); count++) {
        const auto json = valid_json({0, line, ""}, "trace");
        EXPECT_EQ(json["queue"], 1);
        EXPECT_EQ(json["mark"], 5);
        EXPECT_EQ(json["rule"], 1);
        EXPECT_EQ(json["application"], true);
        EXPECT_EQ(json["kernel"], false);
        EXPECT_EQ(json["source"], "10.0.0.1");
        EXPECT_EQ(json["destination_port"], 53);
        EXPECT_EQ(json["at"], "tap");
    }
    EXPECT_EQ(count, 2U);
}

TEST_F(TraceVerb, EndsInOrderWhenItIsInterrupted) {
    for (const int signal : {SIGINT, SIGTERM}) {
        const auto tracer = start({"dropped"});
        send_udp(9, 1);
        tracer->wait_for("dropped: by a rule");
        tracer->kill(signal);
        EXPECT_EQ(tracer->wait(), 0);
        EXPECT_NE(tracer->output().find("1 packet matched, 1 told of, 0 lost\n"), std::string::npos)
            << tracer->output();
    }
}

TEST_F(TraceVerb, SaysThatThePortIsGone) {
    const auto tracer = start({});
    port.reset();
    EXPECT_EQ(tracer->wait(), 1);
    EXPECT_NE(tracer->output().find(" is gone; 0 packets matched"), std::string::npos) << tracer->output();
}

TEST_F(TraceVerb, LeavesThePortAsItWasEvenIfItIsKilled) {
    const std::string before = tapflowctl({"show", "tap0", "--json"}).out;
    {
        const auto tracer = start({});
        EXPECT_EQ(tapflowctl({"list"}).status, 0);
        tracer->kill(SIGKILL);
        EXPECT_EQ(tracer->wait(), 128 + SIGKILL);
    }
    EXPECT_TRUE(wait_until([&] { return tapflowctl({"show", "tap0", "--json"}).out == before; }));
}

TEST_F(TraceVerb, RefusesWhatItCannotDo) {
    expect_refused(tapflowctl({"trace", "tap0", "dport", "none"}));
    expect_refused(tapflowctl({"trace", "tap0", "-c", "0"}));
    expect_refused(tapflowctl({"trace", "tap0", "--snaplen", "65281"}));
    expect_refused(tapflowctl({"trace", "tap0", "--json", "-w", "-"}));
    expect_refused(tapflowctl({"trace", "tap0", "-w", "/nonexistent/file"}));
    expect_refused(tapflowctl({"trace", "tap7"}), 1);
    expect_refused(tapflowctl_unprivileged({"trace", "tap0"}));
}

} // namespace
} // namespace tapflow::test
