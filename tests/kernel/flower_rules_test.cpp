// SPDX-License-Identifier: BSD-3-Clause
// Rules as flower filters on real packets: what they say is what the reference matcher says, and what the same rules in
// the classifier's tables say of the same packets.
#include "flow/reference_matcher.h"
#include "kernel/flower_rig.h"
#include "packet/random_packets.h"
#include "support/effort.h"
#include "support/kernel_version.h"
#include "support/random_rule.h"
#include "support/seed.h"

#include <arpa/inet.h>

#include <map>
#include <set>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

TEST_F(FlowerRules, AreFiltersAndTakePackets) {
    TestedPort tested(ns, "tap0", RuleClassifier::Flower);
    const Bytes udp = Packet().ether().ipv4("10.0.0.1", "10.0.0.2").udp(1000, 53).payload(50).bytes();
    const Bytes tcp = Packet().ether().ipv4("10.0.0.1", "10.0.0.2").tcp({.src_port = 1, .dst_port = 80}).bytes();
    const auto created = tested.rules().create(
        rule_of("ingress group 0 priority 3 pattern eth / ipv4 / udp dst is 53 / end actions queue index 2 / mark id 7 "
                "/ count / end"));
    ASSERT_NE(created.flow, nullptr) << created.refusal.error.message();
    const std::string shown = ns.must_run({"tc", "-s", "filter", "show", "dev", "tap0", "egress"});
    EXPECT_NE(shown.find("dst_port 53"), std::string::npos) << shown;
    EXPECT_NE(shown.find("pref 259"), std::string::npos) << shown;
    for (unsigned i = 0; i < 3; i++) {
        const Decided of_udp = decided(tested.pass(udp));
        EXPECT_EQ(of_udp.queue, 2U);
        EXPECT_EQ(of_udp.mark, 7U);
        EXPECT_EQ(decided(tested.pass(tcp)).mark, std::nullopt);
    }
    const auto count = must(tested.rules().query(created.flow, true));
    EXPECT_EQ(count.packets, 3U);
    EXPECT_EQ(count.bytes, 3 * udp.size());
    must(tested.rules().destroy(created.flow));
    EXPECT_EQ(decided(tested.pass(udp)).mark, std::nullopt);
    EXPECT_EQ(ns.must_run({"tc", "filter", "show", "dev", "tap0", "egress"}).find("pref 259"), std::string::npos);
}

/// Whether the kernel's dissector takes a frame for another packet than we do: see doc/flow-rules.md.
bool is_dissected_otherwise(const tapflow_flow_key &key) {
    const uint8_t next = key.outer.ip_proto;
    const uint16_t behind_two_tags = key.outer.vlan2_type;
    const bool third_tag = behind_two_tags == htons(0x8100) || behind_two_tags == htons(0x88a8);
    const unsigned operation = key.outer.l4[0] << 8U | key.outer.l4[1];
    const bool unknown_arp = key.layers & TAPFLOW_LAYER_ARP && operation != 1 && operation != 2;
    const bool unread_extension =
        key.layers & TAPFLOW_LAYER_IPV6 && (next == 0 || next == 43 || next == 44 || next == 60);
    const bool tunnel = next == 4 || next == 41 || next == 47;
    // Linux 6.1 looks at a wrong place behind two tags of a packet socket's frame, and into IP in IP and GRE.
    const bool not_by_older = (key.layers & TAPFLOW_LAYER_VLAN2 || tunnel) && !kernel_is_at_least(6, 12);
    const bool mpls_in_ip = next == 137;
    // Cut short, or behind the part of a frame that we look at: flower's gate takes a tag out of its way.
    const uint32_t transports = TAPFLOW_LAYER_TCP | TAPFLOW_LAYER_UDP | TAPFLOW_LAYER_SCTP | TAPFLOW_LAYER_ICMP |
                                TAPFLOW_LAYER_ICMP6 | TAPFLOW_LAYER_ESP | TAPFLOW_LAYER_AH;
    const bool is_fragment = key.layers & TAPFLOW_LAYER_FRAGMENT ||
                             (key.layers & TAPFLOW_LAYER_IPV4 && key.outer.ip_fragment & htons(0x3fff));
    const std::set<uint8_t> with_transport{1, 6, 17, 50, 51, 58, 132};
    const bool unread_transport = with_transport.contains(next) && !is_fragment && (key.layers & transports) == 0;
    return unread_transport || third_tag || not_by_older || unknown_arp || unread_extension || mpls_in_ip;
}

/// Rules of which some cannot be filters, in two ports and the reference matcher.
class Triplets {
  public:
    explicit Triplets(const NetNs &ns)
        : flower_(ns, "tap0", RuleClassifier::Flower), bpf_(ns, "tap1", RuleClassifier::Bpf) {}

    void add(const flow::Rule &rule) {
        offered_++;
        const auto refusal = flower_.rules().check(rule);
        const auto by_flower = flower_.rules().create(rule);
        // What check() lets pass is created, and the other way round.
        ASSERT_EQ(refusal.has_value(), by_flower.flow == nullptr)
            << by_flower.refusal.error.message() << flow::to_text(rule);
        if (!by_flower.flow) {
            const Error &error = by_flower.refusal.error;
            ASSERT_TRUE(error.code == ENOTSUP || error.code == EEXIST || error.code == ELOOP) << error.message() << "\n"
                                                                                              << flow::to_text(rule);
            refused_[error.detail]++;
            return;
        }
        const auto by_bpf = bpf_.rules().create(rule);
        ASSERT_NE(by_bpf.flow, nullptr) << by_bpf.refusal.error.message() << "\n" << flow::to_text(rule);
        reference_.add(next_, rule);
        flows_[next_++] = {by_flower.flow, by_bpf.flow};
    }

    void expect_same(const Bytes &frame) {
        const tapflow_flow_key key = flow::reference_key(frame);
        if (is_undecided(key) || is_dissected_otherwise(key))
            return;
        compared_++;
        const auto verdict = reference_.match(key, flow::Direction::Ingress);
        acted_ += verdict.acted.size();
        const Decided by_bpf = decided(bpf_.pass(frame));
        const Decided by_flower = decided(flower_.pass(frame));
        ASSERT_EQ(by_flower, by_bpf) << describe(frame, verdict);
        ASSERT_EQ(by_flower.dropped, verdict.fate == flow::Fate::Drop) << describe(frame, verdict);
        for (const flow::RuleId id : verdict.acted) {
            counts_[id].packets++;
            counts_[id].bytes += frame.size();
        }
        if (by_flower.dropped)
            return;
        ASSERT_EQ(by_flower.mark, verdict.mark) << describe(frame, verdict);
        ASSERT_EQ(by_flower.flag, verdict.flag) << describe(frame, verdict);
        if (verdict.fate == flow::Fate::Queue) {
            ASSERT_EQ(by_flower.queue, verdict.queue) << describe(frame, verdict);
        }
    }

    void expect_same_counts() {
        for (const auto &[id, rule] : reference_.rules()) {
            if (!rule.actions.count)
                continue;
            const auto by_flower = must(flower_.rules().query(flows_[id].first, false));
            const auto by_bpf = must(bpf_.rules().query(flows_[id].second, false));
            ASSERT_EQ(by_flower.packets, counts_[id].packets) << flow::to_text(rule);
            ASSERT_EQ(by_bpf.packets, counts_[id].packets) << flow::to_text(rule);
            ASSERT_EQ(by_bpf.bytes, counts_[id].bytes) << flow::to_text(rule);
        }
    }

    void flush() {
        must(flower_.rules().flush());
        must(bpf_.rules().flush());
        reference_.clear();
        flows_.clear();
        counts_.clear();
    }

    void report() const {
        std::cout << offered_ << " rules offered, " << acted_ << " acts on " << compared_ << " packets; refused:\n";
        for (const auto &[why, times] : refused_)
            std::cout << "  " << times << " " << why << "\n";
    }
    [[nodiscard]] bool by_ring() const { return flower_.by_ring; }
    [[nodiscard]] size_t acted() const { return acted_; }
    [[nodiscard]] size_t compared() const { return compared_; }

  private:
    /// Whether rules of one group and priority overlap on a packet: which of them acts is nobody's promise.
    [[nodiscard]] bool is_undecided(const tapflow_flow_key &key) const {
        std::set<std::pair<uint32_t, uint32_t>> seen;
        for (const auto &[id, rule] : reference_.rules())
            if (flow::matches(rule.match, key) &&
                !seen.insert({rule.attributes.group, rule.attributes.priority}).second)
                return true;
        return false;
    }

    std::string describe(const Bytes &frame, const flow::ReferenceVerdict &verdict) const {
        std::string text = "packet ";
        for (const uint8_t byte : frame) {
            constexpr std::string_view kDigits = "0123456789abcdef";
            text += {kDigits[byte >> 4U], kDigits[byte & 15U]};
        }
        text += "\nacted:";
        for (const flow::RuleId id : verdict.acted)
            text += "\n  " + flow::to_text(reference_.rules().at(id));
        text += "\nof:";
        for (const auto &[id, rule] : reference_.rules())
            text += "\n  " + flow::to_text(rule);
        return text;
    }

    TestedPort flower_;
    TestedPort bpf_;
    flow::ReferenceMatcher reference_;
    flow::RuleId next_ = 1;
    std::map<flow::RuleId, std::pair<engine::Flow *, engine::Flow *>> flows_;
    std::map<flow::RuleId, engine::FlowCount> counts_;
    std::map<std::string, size_t> refused_;
    size_t offered_ = 0;
    size_t acted_ = 0;
    size_t compared_ = 0;
};

TEST_F(FlowerRules, SayOfRandomPacketsWhatTheTablesAndTheReferenceMatcherSay) {
    auto random = seeded_random();
    RuleBounds bounds;
    bounds.queues = kQueues;
    bounds.groups = 4;
    bounds.directions = {flow::Direction::Ingress};
    Triplets triplets(ns);
    bounds.rewrites = triplets.by_ring(); // else they are refused by both
    packet::RandomPackets packets{std::mt19937_64(random())};
    RandomRules rules(std::mt19937_64(random()), bounds);
    const unsigned sets = effort(400);
    for (unsigned set = 0; set < sets; set++) {
        std::vector<Bytes> frames;
        for (unsigned i = 0; i < 50; i++)
            frames.push_back(packets.next_whole(60, 700));
        for (unsigned i = 0; i < 60; i++)
            ASSERT_NO_FATAL_FAILURE(
                triplets.add(rules.next_for(flow::reference_key(frames[rules.below(frames.size())]))));
        for (const Bytes &frame : frames)
            ASSERT_NO_FATAL_FAILURE(triplets.expect_same(frame));
        ASSERT_NO_FATAL_FAILURE(triplets.expect_same_counts());
        triplets.flush();
    }
    triplets.report();
    // Otherwise nothing much has been compared; a few sets alone may be of rules that hardly match.
    if (sets >= 20) {
        EXPECT_GT(triplets.acted(), triplets.compared() / 10);
    }
}

} // namespace
} // namespace tapflow::test
