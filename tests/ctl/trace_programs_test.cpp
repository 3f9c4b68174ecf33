// SPDX-License-Identifier: BSD-3-Clause
// What a tracer tells of packets is what became of them.
#include "ctl/trace_rig.h"

#include "kernel/clock.h"

#include <arpa/inet.h>

#include <array>
#include <atomic>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

constexpr uint32_t kWho = TAPFLOW_DECIDED_KERNEL | TAPFLOW_DECIDED_APPLICATION;
constexpr uint32_t kWhyNot = TAPFLOW_DECIDED_NOT_STARTED | TAPFLOW_DECIDED_RULE_DROP | TAPFLOW_DECIDED_FILTERED |
                             TAPFLOW_DECIDED_NO_LEASE | TAPFLOW_DECIDED_QUEUE_STOPPED | TAPFLOW_DECIDED_NO_QUEUE |
                             TAPFLOW_DECIDED_OVERSIZE | TAPFLOW_DECIDED_UNSUPPORTED_GSO | TAPFLOW_DECIDED_RING_FULL |
                             TAPFLOW_DECIDED_RING_STUCK;

Decided decided(const tapflow_trace_event &event) {
    Decided result;
    result.dropped = (event.flags & TAPFLOW_DECIDED_APPLICATION) == 0;
    if (result.dropped)
        return result;
    result.queue = event.queue;
    result.hash = event.hash;
    result.flag = (event.flags & TAPFLOW_DECIDED_FLAG) != 0;
    if (event.flags & TAPFLOW_DECIDED_MARK)
        result.mark = event.mark;
    return result;
}

class Trace : public TraceTest, public testing::WithParamInterface<TraceCase> {
  protected:
    void SetUp() override {
        if (const auto reason = why_not(GetParam()))
            GTEST_SKIP() << *reason;
    }
    void open_case(size_t ring_bytes = 1U << 20U) { open(GetParam(), RuleClassifier::Bpf, ring_bytes); }

    [[nodiscard]] std::vector<Bytes> various() const {
        std::vector<Bytes> frames;
        for (uint16_t i = 0; i < 12; i++) {
            const auto port = static_cast<uint16_t>(1000 + 37 * i);
            frames.push_back(udp(port, 53));
            frames.push_back(to_port().ipv4("10.1.0.1", "10.0.0.2").tcp(port, 80).payload(700).bytes());
            frames.push_back(to_port().ipv6("fd00::1", "fd00::2").udp(port, 4000).payload(1000).bytes());
            frames.push_back(to_port().vlan(7).ipv4("10.0.0.9", "10.0.0.2").udp(port, 9).payload(8).bytes());
        }
        frames.push_back(to_port().ipv4("10.0.0.1", "10.0.0.2").icmp().payload(20).bytes());
        frames.push_back(to_port().arp({}).pad_to(60).bytes());
        return frames;
    }
    /// Sends a frame and compares what is told of it with what has become of it.
    Traced expect_told(TracePrograms &tracer, const Bytes &frame) {
        send(frame);
        auto told = wait_for_events(tracer, 1);
        const bool comes = told.size() == 1 && told[0].event.flags & TAPFLOW_DECIDED_APPLICATION;
        const auto delivered = comes ? wait_for_delivery() : tested->drain_all();
        EXPECT_EQ(told.size(), 1U);
        if (told.size() != 1)
            return {};
        const std::optional<Delivered> got = delivered.empty() ? std::nullopt : std::optional(delivered[0]);
        EXPECT_EQ(decided(told[0].event), test::decided(got)) << "flags " << std::hex << told[0].event.flags;
        if (got && tested->by_ring) {
            EXPECT_EQ(told[0].event.rule, got->record.rule);
            EXPECT_EQ((told[0].event.flags & TAPFLOW_DECIDED_HASH) != 0,
                      (got->record.flags & TAPFLOW_RECORD_HASH) != 0);
        }
        return std::move(told[0]);
    }
};

TEST_P(Trace, TellsWhatBecameOfEveryPacket) {
    open_case();
    const auto tracer = trace();
    EXPECT_EQ(tracer->method(), GetParam().method);
    const uint64_t before = kernel::monotonic_ns();
    for (const Bytes &frame : various()) {
        const Traced told = expect_told(*tracer, frame);
        EXPECT_NE(told.event.flags & TAPFLOW_DECIDED_APPLICATION, 0U);
        EXPECT_GE(told.event.time_ns, before);
        EXPECT_LE(told.event.time_ns, kernel::monotonic_ns());
        EXPECT_EQ(told.event.place, GetParam().remote ? TAPFLOW_TRACE_REMOTE : TAPFLOW_TRACE_TAP);
        Bytes frame_told = told.frame;
        if (told.event.vlan_proto != 0) {
            const uint16_t tag[2] = {told.event.vlan_proto, htons(told.event.vlan_tci)};
            const auto *bytes = reinterpret_cast<const uint8_t *>(tag);
            frame_told.insert(frame_told.begin() + 12, bytes, bytes + 4);
        }
        EXPECT_EQ(frame_told, frame);
        EXPECT_EQ(told.event.length, told.frame.size());
    }
    EXPECT_EQ(tracer->counts().sampled, various().size());
    EXPECT_EQ(tracer->counts().lost, 0U);
}

TEST_P(Trace, NamesTheRuleThatActed) {
    open_case();
    const std::array rules{
        rule_of(
            "ingress group 0 priority 3 pattern eth / ipv4 / udp dst is 53 / end actions mark id 7 / queue index 2 / "
            "end"),
        rule_of("ingress group 0 priority 4 pattern eth / ipv4 / tcp / end actions drop / end"),
        rule_of("ingress group 0 priority 5 pattern eth / ipv6 / end actions flag / rss queues 1 3 end / end"),
        rule_of("ingress group 0 priority 6 pattern eth / vlan vid is 7 / end actions flag / passthru / end")};
    for (const flow::Rule &rule : rules)
        ASSERT_NE(tested->rules().create(rule).flow, nullptr);
    const auto tracer = trace();
    std::array<unsigned, 5> acted{};
    for (const Bytes &frame : various()) {
        const Traced told = expect_told(*tracer, frame);
        ASSERT_LT(told.event.rule_id, acted.size());
        acted.at(told.event.rule_id)++;
        EXPECT_EQ((told.event.flags & TAPFLOW_DECIDED_RULE_DROP) != 0, told.event.rule_id == 2);
    }
    EXPECT_EQ(acted, (std::array{2U, 12U, 12U, 12U, 12U}));
}

/// Ports whose rules are flower filters.
class TraceOfFlower : public Trace {
  protected:
    void SetUp() override {
        Trace::SetUp();
        static const bool lacks_flower = !has_flower();
        if (!IsSkipped() && lacks_flower)
            GTEST_SKIP() << "kernel lacks flower";
    }
};

TEST_P(TraceOfFlower, NamesTheRuleThatActed) {
    open(GetParam(), RuleClassifier::Flower);
    const std::array rules{
        rule_of(
            "ingress group 0 priority 3 pattern eth / ipv4 / udp dst is 53 / end actions mark id 7 / queue index 2 / "
            "end"),
        rule_of("ingress group 0 priority 4 pattern eth / ipv4 / tcp / end actions drop / end"),
        rule_of("ingress group 0 priority 5 pattern eth / ipv6 / end actions mark id 9 / queue index 1 / end")};
    for (const flow::Rule &rule : rules)
        ASSERT_NE(tested->rules().create(rule).flow, nullptr);
    const auto tracer = trace();
    std::array<unsigned, 4> acted{};
    for (const Bytes &frame : various()) {
        const Traced told = expect_told(*tracer, frame);
        ASSERT_LT(told.event.rule_id, acted.size());
        acted.at(told.event.rule_id)++;
        EXPECT_EQ((told.event.flags & TAPFLOW_DECIDED_RULE_DROP) != 0, told.event.rule_id == 2);
    }
    EXPECT_EQ(acted, (std::array{14U, 12U, 12U, 12U}));
}

TEST_P(Trace, SaysWhoGetsAPacketAndWhyOthersDoNot) {
    open_case();
    const bool remote = GetParam().remote;
    must(tested->port->set_promiscuous(false));
    const auto tracer = trace();
    const auto told = [&](const Bytes &frame) { return expect_told(*tracer, frame).event.flags & (kWho | kWhyNot); };
    const auto to = [](const char *address) {
        return Packet().ether(address, packet::Mac{}).ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).payload(20).bytes();
    };
    const uint32_t kernel = remote ? TAPFLOW_DECIDED_KERNEL : 0;
    EXPECT_EQ(told(udp(1, 2)), TAPFLOW_DECIDED_APPLICATION);
    EXPECT_EQ(told(to("ff:ff:ff:ff:ff:ff")), TAPFLOW_DECIDED_APPLICATION | kernel);
    EXPECT_EQ(told(to("02:00:00:00:00:77")), TAPFLOW_DECIDED_FILTERED | kernel);
    ASSERT_NE(
        tested->rules().create(rule_of("ingress pattern eth / ipv4 / udp dst is 9 / end actions drop / end")).flow,
        nullptr);
    EXPECT_EQ(told(udp(1, 9)), TAPFLOW_DECIDED_RULE_DROP);
    for (unsigned queue = 0; queue < kQueues; queue++)
        must(tested->port->set_queue_stopped(queue, true));
    EXPECT_EQ(told(udp(1, 2)), TAPFLOW_DECIDED_QUEUE_STOPPED);
    EXPECT_EQ(told(to("ff:ff:ff:ff:ff:ff")), TAPFLOW_DECIDED_QUEUE_STOPPED | kernel);
}

/// Local ports have no lease.
class TraceOfRemote : public Trace {};
/// For what does not depend on where packets come from.
class TraceOfLocal : public Trace {};

TEST_P(TraceOfRemote, SaysThatTheLeaseHasRunOut) {
    open_case();
    must(tested->port->set_promiscuous(false));
    ASSERT_NE(
        tested->rules().create(rule_of("ingress pattern eth / ipv4 / udp dst is 9 / end actions drop / end")).flow,
        nullptr);
    const auto tracer = trace();
    // The process renews it every quarter of a second: then it is taken away again.
    auto &state = const_cast<tapflow_port_state &>(tested->port->state());
    const auto told = [&](const Bytes &frame) -> uint32_t {
        for (;;) {
            state.lease_check.good_tick = 0;
            std::atomic_ref(state.config.lease_ns).store(0);
            send(frame);
            const auto all = wait_for_events(*tracer, 1);
            (void)tested->drain_all();
            if (std::atomic_ref(state.config.lease_ns).load() == 0)
                return all.size() == 1 ? all[0].event.flags & (kWho | kWhyNot) : 0;
        }
    };
    EXPECT_EQ(told(udp(1, 2)), TAPFLOW_DECIDED_KERNEL | TAPFLOW_DECIDED_NO_LEASE);
    EXPECT_EQ(told(udp(1, 9)), TAPFLOW_DECIDED_KERNEL | TAPFLOW_DECIDED_NO_LEASE);
    EXPECT_EQ(told(Packet().ether("02:00:00:00:00:77", packet::Mac{}).ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).bytes()),
              TAPFLOW_DECIDED_KERNEL | TAPFLOW_DECIDED_FILTERED);
}

TEST_P(Trace, SaysThatARingIsFull) {
    if (GetParam().delivery != kernel::Delivery::Ring)
        return; // the tap's own queues drop what is too much, behind the classifier
    open_case(4096);
    const auto tracer = trace();
    const Bytes frame = to_port().ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).payload(1000).bytes();
    std::vector<uint32_t> said;
    for (unsigned i = 0; i < 6; i++) {
        send(frame);
        for (const Traced &told : wait_for_events(*tracer, 1))
            said.push_back(told.event.flags & (kWho | kWhyNot));
    }
    const size_t room = tested->drain_all().size();
    EXPECT_GT(room, 0U);
    EXPECT_LT(room, 6U);
    ASSERT_EQ(said.size(), 6U);
    for (size_t i = 0; i < said.size(); i++)
        EXPECT_EQ(said[i], i < room ? TAPFLOW_DECIDED_APPLICATION : TAPFLOW_DECIDED_RING_FULL) << i;
}

tapflow_trace_address address(const char *text, unsigned bits = 32) {
    tapflow_trace_address result{};
    in_addr parsed{};
    inet_pton(AF_INET, text, &parsed);
    result.mask[0] = htonl(bits == 0 ? 0 : ~0U << (32 - bits));
    result.words[0] = parsed.s_addr & result.mask[0];
    return result;
}

TEST_P(TraceOfLocal, TellsOnlyOfWhatTheFilterAgreesWith) {
    open_case();
    ASSERT_NE(tested->rules()
                  .create(rule_of("ingress pattern eth / ipv4 / udp src is 1037 / end actions mark id 5 / queue "
                                  "index 3 / end"))
                  .flow,
              nullptr);
    struct Wanted {
        const char *name;
        tapflow_trace_filter filter;
        size_t count;
    };
    // What is asked for, and how many of the frames that various() makes agree.
    const auto filter = [](uint32_t fields, const std::function<void(tapflow_trace_filter &)> &set) {
        tapflow_trace_filter result{};
        result.fields = fields;
        set(result);
        return result;
    };
    const std::array wanted{
        Wanted{"all", filter(0, [](auto &) {}), 50},
        Wanted{"ip6", filter(TAPFLOW_TRACE_FAMILY, [](auto &f) { f.family = 6; }), 12},
        Wanted{"udp", filter(TAPFLOW_TRACE_PROTOCOL, [](auto &f) { f.protocol = 17; }), 36},
        Wanted{"icmp", filter(TAPFLOW_TRACE_PROTOCOL, [](auto &f) { f.protocol = 1; }), 1},
        Wanted{"dport 53", filter(TAPFLOW_TRACE_DESTINATION_PORT, [](auto &f) { f.destination_port = htons(53); }), 12},
        Wanted{"sport 53", filter(TAPFLOW_TRACE_SOURCE_PORT, [](auto &f) { f.source_port = htons(53); }), 0},
        Wanted{"port 53", filter(TAPFLOW_TRACE_PORT, [](auto &f) { f.port = htons(53); }), 12},
        Wanted{"vlan 7", filter(TAPFLOW_TRACE_VLAN, [](auto &f) { f.vlan = 7; }), 12},
        Wanted{"vlan 0", filter(TAPFLOW_TRACE_VLAN, [](auto &) {}), 38},
        Wanted{"src 10.1.0.1",
               filter(TAPFLOW_TRACE_FAMILY | TAPFLOW_TRACE_SOURCE,
                      [](auto &f) {
                          f.family = 4;
                          f.source = address("10.1.0.1");
                      }),
               12},
        Wanted{"host 10.0.0.0/24",
               filter(TAPFLOW_TRACE_FAMILY | TAPFLOW_TRACE_HOST,
                      [](auto &f) {
                          f.family = 4;
                          f.host = address("10.0.0.0", 24);
                      }),
               37},
        Wanted{"dst 10.1.0.1",
               filter(TAPFLOW_TRACE_FAMILY | TAPFLOW_TRACE_DESTINATION,
                      [](auto &f) {
                          f.family = 4;
                          f.destination = address("10.1.0.1");
                      }),
               0},
        Wanted{"rule 1", filter(TAPFLOW_TRACE_RULE, [](auto &f) { f.rule = 1; }), 2},
        Wanted{"rule 0", filter(TAPFLOW_TRACE_RULE, [](auto &) {}), 48},
        Wanted{"mark 5", filter(TAPFLOW_TRACE_MARK, [](auto &f) { f.mark = 5; }), 2},
        Wanted{"dropped", filter(0, [](auto &f) { f.flags_mask = kWho; }), 0},
        Wanted{"mark 5 tcp",
               filter(TAPFLOW_TRACE_MARK | TAPFLOW_TRACE_PROTOCOL,
                      [](auto &f) {
                          f.mark = 5;
                          f.protocol = 6;
                      }),
               0},
    };
    std::vector<std::unique_ptr<TracePrograms>> tracers; // at once: none sees less because of another
    for (const Wanted &one : wanted)
        tracers.push_back(trace(one.filter));
    size_t of_queue[kQueues] = {};
    for (unsigned queue = 0; queue < kQueues; queue++)
        tracers.push_back(trace(filter(TAPFLOW_TRACE_QUEUE, [&](auto &f) { f.queue = static_cast<uint16_t>(queue); })));
    size_t sent = 0;
    for (const Bytes &frame : various()) {
        send(frame);
        sent += wait_for_events(*tracers[0], 1).size();
        for (const Delivered &one : wait_for_delivery())
            of_queue[one.queue]++;
    }
    ASSERT_EQ(sent, 50U);
    for (size_t i = 0; i < tracers.size(); i++) {
        const bool is_queue = i >= wanted.size();
        const size_t expected = is_queue ? of_queue[i - wanted.size()] : wanted[i].count;
        const std::string name = is_queue ? "queue " + std::to_string(i - wanted.size()) : wanted[i].name;
        EXPECT_EQ(tracers[i]->counts().sampled, expected) << name;
        if (i != 0) {
            EXPECT_EQ(read_all(*tracers[i]).size(), expected) << name;
        }
    }
}

TEST_P(TraceOfLocal, SamplesAndLimits) {
    open_case();
    constexpr size_t count = 2000;
    engine::TraceOptions wanted{.options = {.filter = {}, .snaplen = 64, .one_in = 4, .rate = 0, .reserved = 0}};
    const auto sampler = trace(wanted);
    wanted.options.one_in = 0;
    wanted.options.rate = 10;
    const auto limited = trace(wanted);
    wanted.options.rate = 0;
    const auto all = trace(wanted);
    const uint64_t began = kernel::monotonic_ns();
    for (size_t i = 0; i < count; i++)
        send(udp(static_cast<uint16_t>(i), 53));
    ASSERT_TRUE(wait_until([&] { return all->counts().sampled == count; }));
    const uint64_t seconds = kernel::monotonic_ns() / 1'000'000'000 - began / 1'000'000'000 + 1;
    EXPECT_EQ(sampler->counts().matched, count);
    const size_t sampled = read_all(*sampler).size();
    EXPECT_EQ(sampled, sampler->counts().sampled);
    EXPECT_GT(sampled, count / 4 - 200); // ten standard deviations
    EXPECT_LT(sampled, count / 4 + 200);
    EXPECT_GE(limited->counts().sampled, 1U);
    EXPECT_LE(limited->counts().sampled, 10 * seconds + 2 * 2);
    const auto told = read_all(*all);
    ASSERT_EQ(told.size(), count);
    EXPECT_EQ(told[0].frame.size(), 64U);
    EXPECT_EQ(told[0].event.length, udp(0, 53).size());
}

TEST_P(TraceOfLocal, CountsWhatFindsNoRoom) {
    open_case();
    engine::TraceOptions wanted;
    wanted.options.snaplen = 65280;
    wanted.ring_bytes = 4096;
    const auto small = trace(wanted);
    const auto large = trace();
    constexpr size_t count = 200;
    for (size_t i = 0; i < count; i++)
        send(udp(static_cast<uint16_t>(i), 53));
    ASSERT_TRUE(wait_until([&] { return large->counts().sampled == count; }));
    const auto counts = small->counts();
    EXPECT_EQ(counts.sampled, count);
    EXPECT_GT(counts.lost, count / 2);
    EXPECT_EQ(counts.lost + read_all(*small).size(), count);
    EXPECT_EQ(read_all(*large).size(), count);
    EXPECT_EQ(large->counts().lost, 0U);
}

TEST_P(Trace, LeavesNothing) {
    open_case();
    inspected.emplace(must(engine::find_port("tap0")));
    BpfIds port;
    port.add_open_ones(getpid());
    auto tracer = trace();
    BpfIds with_tracer;
    with_tracer.add_open_ones(getpid());
    for (const uint32_t id : port.programs)
        with_tracer.programs.erase(id);
    for (const uint32_t id : port.maps)
        with_tracer.maps.erase(id);
    for (const uint32_t id : port.links)
        with_tracer.links.erase(id);
    ASSERT_GT(with_tracer.alive(), 0U);
    tracer.reset();
    EXPECT_TRUE(wait_until([&] { return with_tracer.alive() == 0; }));
    send(udp(1, 2));
    EXPECT_EQ(wait_for_delivery().size(), 1U);
}

std::vector<TraceCase> cases(const std::vector<bool> &remotes) {
    std::vector<TraceCase> all;
    for (const TraceMethod method : {TraceMethod::Exit, TraceMethod::Front})
        for (const kernel::Delivery delivery : {kernel::Delivery::Ring, kernel::Delivery::Fd})
            for (const bool remote : remotes)
                all.push_back({method, delivery, remote});
    return all;
}
std::string name_of(const testing::TestParamInfo<TraceCase> &instance) { return instance.param.name(); }
INSTANTIATE_TEST_SUITE_P(Ports, Trace, testing::ValuesIn(cases({false, true})), name_of);
INSTANTIATE_TEST_SUITE_P(Ports, TraceOfFlower, testing::ValuesIn(cases({false, true})), name_of);
INSTANTIATE_TEST_SUITE_P(Ports, TraceOfLocal, testing::ValuesIn(cases({false})), name_of);
INSTANTIATE_TEST_SUITE_P(Ports, TraceOfRemote, testing::ValuesIn(cases({true})), name_of);

} // namespace
} // namespace tapflow::test
