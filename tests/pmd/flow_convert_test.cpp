// SPDX-License-Identifier: BSD-3-Clause
// rte_flow's attributes and actions, whole rules, and refusals of what is found out later.
#include "flow/fields.h"
#include "flow/pattern.h"
#include "pmd/flow_actions.h"
#include "pmd/flow_convert.h"
#include "pmd/flow_request.h"

#include <gtest/gtest.h>
#include <rte_byteorder.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

namespace {
std::atomic<unsigned> allocations{0};
} // namespace

// Not inlined: the compiler would take free() for a mistake.
[[gnu::noinline]] void *operator new(size_t size) {
    allocations++;
    if (void *memory = std::malloc(size))
        return memory;
    throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void *memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void *memory, size_t) noexcept { std::free(memory); }

namespace tapflow::test {
namespace {

using flow::Fate;
using flow::Rewrite;
using flow::Rule;
using pmd::SharedAction;

pmd::FlowRequest pointers(const FlowRequest &request) { return {&request.attr, request.pattern(), request.actions()}; }

Rule rule_of(const FlowRequest &request) {
    Rule rule;
    rte_flow_error error{};
    rte_errno = 0;
    EXPECT_EQ(pmd::convert(pointers(request), rule, &error), 0) << (error.message ? error.message : "");
    EXPECT_EQ(rte_errno, 0);
    return rule;
}

void expect_refusal(const pmd::FlowRequest &request, int code, rte_flow_error_type type, const void *cause,
                    const std::string &message) {
    Rule rule;
    rte_flow_error error{};
    EXPECT_EQ(pmd::convert(request, rule, &error), -code);
    EXPECT_EQ(rte_errno, code);
    EXPECT_EQ(error.type, type);
    EXPECT_EQ(error.cause, cause);
    EXPECT_EQ(std::string(error.message ? error.message : ""), message);
}

/// An action must be refused for itself.
void expect_action_refusal(const FlowRequest &request, int code, rte_flow_error_type type, size_t index,
                           const std::string &message) {
    expect_refusal(pointers(request), code, type, request.actions() + index, message);
}

/// What the actions say, of a rule for everything.
flow::Actions actions_of(const FlowRequest &request) { return rule_of(request).actions; }

TEST(FlowAttributes, AreTakenOver) {
    FlowRequest request;
    request.attr = {.group = 3, .priority = 4095, .ingress = 1, .egress = 0, .transfer = 0, .reserved = 0};
    EXPECT_EQ(rule_of(request).attributes, (flow::Attributes{3, 4095, flow::Direction::Ingress}));
    // Their limits are flow::validate()'s.
    request.attr = {.group = 99, .priority = 1u << 31, .ingress = 0, .egress = 1, .transfer = 0, .reserved = 0};
    EXPECT_EQ(rule_of(request).attributes, (flow::Attributes{99, 1u << 31, flow::Direction::Egress}));
}

TEST(FlowAttributes, NameOneDirectionAndNoTransfer) {
    FlowRequest request;
    request.attr.transfer = 1; // and ingress, as rte_flow_validate() itself refuses it
    expect_refusal(pointers(request), EINVAL, RTE_FLOW_ERROR_TYPE_ATTR, &request.attr,
                   "cannot use attr ingress/egress with attr transfer");
    request.attr.ingress = 0;
    expect_refusal(pointers(request), ENOTSUP, RTE_FLOW_ERROR_TYPE_ATTR_TRANSFER, &request.attr,
                   "transfer: there is no switch behind this port");
    request.attr = {};
    expect_refusal(pointers(request), EINVAL, RTE_FLOW_ERROR_TYPE_ATTR, &request.attr,
                   "direction: one of ingress and egress is needed");
    request.attr.ingress = request.attr.egress = 1;
    expect_refusal(pointers(request), ENOTSUP, RTE_FLOW_ERROR_TYPE_ATTR_EGRESS, &request.attr,
                   "direction: a rule is for ingress or for egress, not for both");
    request.attr.egress = 0;
    request.attr.reserved = 1;
    expect_refusal(pointers(request), EINVAL, RTE_FLOW_ERROR_TYPE_ATTR, &request.attr,
                   "reserved attributes: they must be 0");
}

TEST(FlowConvert, RefusesRulesOfWhichAPartIsMissing) {
    FlowRequest request;
    expect_refusal({nullptr, request.pattern(), request.actions()}, EINVAL, RTE_FLOW_ERROR_TYPE_ATTR, nullptr,
                   "attributes: there are none");
    expect_refusal({&request.attr, nullptr, request.actions()}, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_NUM, nullptr,
                   "pattern: there is none");
    expect_refusal({&request.attr, request.pattern(), nullptr}, EINVAL, RTE_FLOW_ERROR_TYPE_ACTION_NUM, nullptr,
                   "actions: there are none");
}

TEST(FlowConvert, AllocatesNothingForPlainRules) {
    rte_flow_item_eth eth{};
    rte_flow_item_ipv4 ipv4{};
    rte_flow_item_udp udp{};
    FlowRequest request;
    request.item(RTE_FLOW_ITEM_TYPE_ETH, eth)
        .item(RTE_FLOW_ITEM_TYPE_IPV4, ipv4)
        .item(RTE_FLOW_ITEM_TYPE_UDP, udp)
        .action(RTE_FLOW_ACTION_TYPE_COUNT)
        .action(RTE_FLOW_ACTION_TYPE_MARK, rte_flow_action_mark{.id = 7})
        .queue(3);
    rule_of(request); // makes the table of items
    Rule rule;
    const unsigned before = allocations;
    const int status = pmd::convert(pointers(request), rule, nullptr);
    const unsigned after = allocations;
    EXPECT_EQ(status, 0);
    EXPECT_EQ(after - before, 0U);
}

TEST(FlowActions, DecideWhatBecomesOfAPacket) {
    EXPECT_EQ(actions_of(FlowRequest()), flow::Actions{});
    EXPECT_EQ(actions_of(FlowRequest().action(RTE_FLOW_ACTION_TYPE_VOID)), flow::Actions{});
    flow::Actions expected;
    expected.fate = Fate::Queue;
    expected.queue = 513;
    EXPECT_EQ(actions_of(FlowRequest().queue(513)), expected);
    expected = {};
    expected.fate = Fate::Drop;
    EXPECT_EQ(actions_of(FlowRequest().action(RTE_FLOW_ACTION_TYPE_DROP)), expected);
    expected.fate = Fate::PassThrough;
    EXPECT_EQ(actions_of(FlowRequest().action(RTE_FLOW_ACTION_TYPE_PASSTHRU)), expected);
    expected.fate = Fate::Jump;
    expected.group = 9;
    EXPECT_EQ(actions_of(FlowRequest().action(RTE_FLOW_ACTION_TYPE_JUMP, rte_flow_action_jump{.group = 9})), expected);
}

TEST(FlowActions, MarkFlagAndCount) {
    flow::Actions expected;
    expected.mark = 0;
    expected.flag = true;
    expected.count = true;
    EXPECT_EQ(actions_of(FlowRequest()
                             .action(RTE_FLOW_ACTION_TYPE_MARK, rte_flow_action_mark{.id = 0})
                             .action(RTE_FLOW_ACTION_TYPE_FLAG)
                             .action(RTE_FLOW_ACTION_TYPE_COUNT)),
              expected);
    expected = {};
    expected.count = true;
    EXPECT_EQ(actions_of(FlowRequest().action(RTE_FLOW_ACTION_TYPE_COUNT, rte_flow_action_count{.id = 3})), expected);
}

TEST(FlowActions, TakesOpenVSwitchsMarkAndRss) {
    const std::array<uint16_t, 3> queues{0, 1, 2};
    rte_flow_action_rss rss{};
    rss.types = 0x3afbc; // RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP
    rss.queue_num = queues.size();
    rss.queue = queues.data();
    const auto actions = actions_of(FlowRequest()
                                        .action(RTE_FLOW_ACTION_TYPE_MARK, rte_flow_action_mark{.id = 0xfffffffe})
                                        .action(RTE_FLOW_ACTION_TYPE_RSS, rss));
    flow::Actions expected;
    expected.mark = 0xfffffffe;
    expected.fate = Fate::Rss;
    flow::RssAction spread;
    spread.types = 0x3afbc;
    spread.queues = {0, 1, 2};
    expected.rss = std::make_shared<flow::RssAction>(spread);
    EXPECT_EQ(actions, expected);
    EXPECT_FALSE(actions.rss->function);
}

TEST(FlowActions, RssIsTakenOver) {
    std::vector<uint8_t> key(40, 0x6d);
    rte_flow_action_rss rss{};
    rss.level = 2;
    rss.types = RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_L3_SRC_ONLY;
    rss.key = key.data();
    rss.key_len = 40;
    for (const auto &[theirs, ours] : {std::pair{RTE_ETH_HASH_FUNCTION_TOEPLITZ, rss::Function::Toeplitz},
                                       {RTE_ETH_HASH_FUNCTION_SIMPLE_XOR, rss::Function::SimpleXor},
                                       {RTE_ETH_HASH_FUNCTION_SYMMETRIC_TOEPLITZ, rss::Function::SymmetricToeplitz}}) {
        rss.func = theirs;
        const auto actions = actions_of(FlowRequest().action(RTE_FLOW_ACTION_TYPE_RSS, rss));
        ASSERT_TRUE(actions.rss);
        EXPECT_EQ(*actions.rss, (flow::RssAction{.function = ours,
                                                 .types = uint64_t{rss::kIpv4Udp} | rss::kL3SourceOnly,
                                                 .level = 2,
                                                 .key = key,
                                                 .queues = {}}));
    }
}

TEST(FlowActions, RefusesRssThatNobodyCanRead) {
    const auto refused = [](int code, const char *message, auto change) {
        rte_flow_action_rss rss{};
        change(rss);
        expect_action_refusal(FlowRequest().action(RTE_FLOW_ACTION_TYPE_COUNT).action(RTE_FLOW_ACTION_TYPE_RSS, rss),
                              code, RTE_FLOW_ERROR_TYPE_ACTION_CONF, 1, std::string("action RSS: ") + message);
    };
    static const std::array<uint8_t, 64> key{};
    static const std::array<uint16_t, 600> queues{};
    refused(ENOTSUP, "func: this hash function is not known",
            [](auto &rss) { rss.func = static_cast<rte_eth_hash_function>(7); });
    refused(ENOTSUP, "types: 0x1000000000 cannot be hashed by",
            [](auto &rss) { rss.types = uint64_t{1} << 36 | RTE_ETH_RSS_IPV4; });
    refused(EINVAL, "key: there is a length but no key", [](auto &rss) { rss.key_len = 40; });
    refused(EINVAL, "key: needed are 40 or 52 bytes", [](auto &rss) {
        rss.key = key.data();
        rss.key_len = 39;
    });
    refused(EINVAL, "queues: there is a number but no list", [](auto &rss) { rss.queue_num = 1; });
    refused(EINVAL, "queues: the list is longer than a redirection table", [](auto &rss) {
        rss.queue = queues.data();
        rss.queue_num = queues.size();
    });
}

TEST(FlowActions, ChangeHeadersInTheirOrder) {
    rte_flow_action_set_mac mac{};
    std::memcpy(mac.mac_addr, "\x02\0\0\0\0\x07", 6);
    rte_flow_action_set_ipv4 ipv4{.ipv4_addr = RTE_BE32(0x0a010203)};
    rte_flow_action_set_ipv6 ipv6{};
    std::memcpy(&ipv6, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x09", 16);
    const rte_flow_action_set_tp port{.port = RTE_BE16(8080)};
    const auto actions = actions_of(
        FlowRequest()
            .action(RTE_FLOW_ACTION_TYPE_OF_POP_VLAN)
            .action(RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN, rte_flow_action_of_push_vlan{.ethertype = RTE_BE16(0x88a8)})
            .action(RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID, rte_flow_action_of_set_vlan_vid{.vlan_vid = RTE_BE16(0x123)})
            .action(RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_PCP, rte_flow_action_of_set_vlan_pcp{.vlan_pcp = 5})
            .action(RTE_FLOW_ACTION_TYPE_SET_MAC_SRC, mac)
            .action(RTE_FLOW_ACTION_TYPE_SET_MAC_DST, mac)
            .action(RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC, ipv4)
            .action(RTE_FLOW_ACTION_TYPE_SET_IPV4_DST, ipv4)
            .action(RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC, ipv6)
            .action(RTE_FLOW_ACTION_TYPE_SET_IPV6_DST, ipv6)
            .action(RTE_FLOW_ACTION_TYPE_SET_TP_SRC, port)
            .action(RTE_FLOW_ACTION_TYPE_SET_TP_DST, port)
            .action(RTE_FLOW_ACTION_TYPE_SET_TTL, rte_flow_action_set_ttl{.ttl_value = 64})
            .action(RTE_FLOW_ACTION_TYPE_DEC_TTL));
    using Kind = Rewrite::Kind;
    const std::array<uint8_t, 16> mac_bytes{2, 0, 0, 0, 0, 7};
    const std::array<uint8_t, 16> ipv4_bytes{10, 1, 2, 3};
    const std::array<uint8_t, 16> ipv6_bytes{0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9};
    const std::vector<Rewrite> expected{
        {Kind::PopVlan, 0, {}},
        {Kind::PushVlan, 0x88a8, {}},
        {Kind::SetVlanVid, 0x123, {}},
        {Kind::SetVlanPcp, 5, {}},
        {Kind::SetMacSrc, 0, mac_bytes},
        {Kind::SetMacDst, 0, mac_bytes},
        {Kind::SetIpv4Src, 0, ipv4_bytes},
        {Kind::SetIpv4Dst, 0, ipv4_bytes},
        {Kind::SetIpv6Src, 0, ipv6_bytes},
        {Kind::SetIpv6Dst, 0, ipv6_bytes},
        {Kind::SetTpSrc, 8080, {}},
        {Kind::SetTpDst, 8080, {}},
        {Kind::SetTtl, 64, {}},
        {Kind::DecTtl, 0, {}},
    };
    EXPECT_EQ(actions.rewrites, expected);
    EXPECT_EQ(actions.fate, Fate::None);
}

TEST(FlowActions, IndirectOnesAreKnownByTheirNumbers) {
    const auto handle = [](SharedAction::Kind kind, uint32_t number) {
        return static_cast<const void *>(pmd::to_handle({kind, number}));
    };
    flow::Actions expected;
    expected.fate = Fate::Rss;
    expected.shared_rss = 0xffffffff;
    expected.count = true;
    expected.shared_count = 1;
    EXPECT_EQ(actions_of(FlowRequest()
                             .action(RTE_FLOW_ACTION_TYPE_INDIRECT, handle(SharedAction::Kind::Rss, 0xffffffff))
                             .action(RTE_FLOW_ACTION_TYPE_INDIRECT, handle(SharedAction::Kind::Count, 1))),
              expected);
    for (const auto kind : {SharedAction::Kind::Rss, SharedAction::Kind::Count}) {
        const auto read = pmd::from_handle(pmd::to_handle({kind, 5}));
        EXPECT_EQ(read.kind, kind);
        EXPECT_EQ(read.number, 5U);
    }
    int something = 0; // a pointer is no handle
    EXPECT_EQ(pmd::from_handle(reinterpret_cast<const rte_flow_action_handle *>(&something)).number, 0U);
}

TEST(FlowActions, RefusesContradictions) {
    const rte_flow_action_mark mark{.id = 1};
    const rte_flow_action_jump jump{.group = 1};
    const rte_flow_action_rss rss{};
    const std::string fates = ": a rule has one of QUEUE, RSS, DROP, PASSTHRU and JUMP";
    const auto refused = [](const FlowRequest &request, const std::string &message) {
        expect_action_refusal(request, EINVAL, RTE_FLOW_ERROR_TYPE_ACTION, 1, message);
    };
    const auto drop = [] {
        FlowRequest request;
        request.action(RTE_FLOW_ACTION_TYPE_DROP);
        return request;
    };
    refused(FlowRequest().queue(0).queue(0), "action QUEUE" + fates);
    refused(FlowRequest().queue(0).action(RTE_FLOW_ACTION_TYPE_DROP), "action DROP" + fates);
    refused(drop().action(RTE_FLOW_ACTION_TYPE_RSS, rss), "action RSS" + fates);
    refused(drop().action(RTE_FLOW_ACTION_TYPE_PASSTHRU), "action PASSTHRU" + fates);
    refused(drop().action(RTE_FLOW_ACTION_TYPE_JUMP, jump), "action JUMP" + fates);
    refused(drop().action(RTE_FLOW_ACTION_TYPE_INDIRECT, pmd::to_handle({SharedAction::Kind::Rss, 1})),
            "action INDIRECT" + fates);
    refused(FlowRequest().action(RTE_FLOW_ACTION_TYPE_MARK, mark).action(RTE_FLOW_ACTION_TYPE_MARK, mark),
            "action MARK: a rule has one MARK");
    refused(FlowRequest().action(RTE_FLOW_ACTION_TYPE_FLAG).action(RTE_FLOW_ACTION_TYPE_FLAG),
            "action FLAG: a rule has one FLAG");
    refused(FlowRequest().action(RTE_FLOW_ACTION_TYPE_COUNT).action(RTE_FLOW_ACTION_TYPE_COUNT),
            "action COUNT: a rule has one COUNT");
    refused(FlowRequest()
                .action(RTE_FLOW_ACTION_TYPE_COUNT)
                .action(RTE_FLOW_ACTION_TYPE_INDIRECT, pmd::to_handle({SharedAction::Kind::Count, 1})),
            "action INDIRECT: a rule has one COUNT");
}

TEST(FlowActions, RefusesThoseWithoutTheirConfiguration) {
    for (const auto type :
         {RTE_FLOW_ACTION_TYPE_QUEUE, RTE_FLOW_ACTION_TYPE_RSS, RTE_FLOW_ACTION_TYPE_MARK, RTE_FLOW_ACTION_TYPE_JUMP,
          RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN, RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID, RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_PCP,
          RTE_FLOW_ACTION_TYPE_SET_MAC_SRC, RTE_FLOW_ACTION_TYPE_SET_MAC_DST, RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC,
          RTE_FLOW_ACTION_TYPE_SET_IPV4_DST, RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC, RTE_FLOW_ACTION_TYPE_SET_IPV6_DST,
          RTE_FLOW_ACTION_TYPE_SET_TP_SRC, RTE_FLOW_ACTION_TYPE_SET_TP_DST, RTE_FLOW_ACTION_TYPE_SET_TTL})
        expect_action_refusal(FlowRequest().action(type), EINVAL, RTE_FLOW_ERROR_TYPE_ACTION_CONF, 0,
                              std::string("action ") + pmd::name_of(type) + ": its configuration is missing");
    expect_action_refusal(FlowRequest().action(RTE_FLOW_ACTION_TYPE_INDIRECT), EINVAL, RTE_FLOW_ERROR_TYPE_ACTION_CONF,
                          0, "action INDIRECT: its handle is missing");
}

TEST(FlowActions, RefusesOthersAndSaysWhy) {
    const std::string no_switch = ": a rule cannot send packets to another port, there is no switch behind this one";
    const std::string no_headers = ": of headers, only VLAN tags are added and taken off";
    const std::vector<std::pair<rte_flow_action_type, std::string>> cases{
        {RTE_FLOW_ACTION_TYPE_PORT_ID, "PORT_ID" + no_switch},
        {RTE_FLOW_ACTION_TYPE_PORT_REPRESENTOR, "PORT_REPRESENTOR" + no_switch},
        {RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT, "REPRESENTED_PORT" + no_switch},
        {RTE_FLOW_ACTION_TYPE_METER, "METER: packets are not policed"},
        {RTE_FLOW_ACTION_TYPE_VXLAN_ENCAP, "VXLAN_ENCAP" + no_headers},
        {RTE_FLOW_ACTION_TYPE_RAW_DECAP, "RAW_DECAP" + no_headers},
        {RTE_FLOW_ACTION_TYPE_SET_META, "SET_META: packets carry a MARK and nothing else from rule to application"},
        {RTE_FLOW_ACTION_TYPE_SAMPLE, "SAMPLE: it is not supported"},
        {static_cast<rte_flow_action_type>(63), "?: it is not supported"},
    };
    for (const auto &[type, message] : cases)
        expect_action_refusal(FlowRequest().queue(1).action(type), ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION, 1,
                              "action " + message);
}

/// What the engine refuses is blamed on the part of the request that it comes from.
TEST(FlowRefusal, NamesTheCulprit) {
    FlowRequest request;
    request.item(RTE_FLOW_ITEM_TYPE_ETH)
        .action(RTE_FLOW_ACTION_TYPE_COUNT)
        .action(RTE_FLOW_ACTION_TYPE_MARK, rte_flow_action_mark{.id = 1})
        .action(RTE_FLOW_ACTION_TYPE_DEC_TTL)
        .queue(7);
    FlowRequest shared;
    shared.action(RTE_FLOW_ACTION_TYPE_INDIRECT, pmd::to_handle({SharedAction::Kind::Count, 1}))
        .action(RTE_FLOW_ACTION_TYPE_INDIRECT, pmd::to_handle({SharedAction::Kind::Rss, 1}));
    FlowRequest jump;
    jump.action(RTE_FLOW_ACTION_TYPE_JUMP, rte_flow_action_jump{.group = 1});
    const auto blamed = [](const FlowRequest &of, flow::Part part, rte_flow_error_type type, const void *cause) {
        rte_flow_error error{};
        const flow::Refusal refusal{part, {ERANGE, "action QUEUE", "queue 7 of 4"}};
        EXPECT_EQ(pmd::refuse(&error, pointers(of), refusal), -ERANGE);
        EXPECT_EQ(rte_errno, ERANGE);
        EXPECT_EQ(error.type, type) << static_cast<int>(part);
        EXPECT_EQ(error.cause, cause) << static_cast<int>(part);
        EXPECT_STREQ(error.message, "action QUEUE: queue 7 of 4");
    };
    using flow::Part;
    blamed(request, Part::Group, RTE_FLOW_ERROR_TYPE_ATTR_GROUP, &request.attr);
    blamed(request, Part::Priority, RTE_FLOW_ERROR_TYPE_ATTR_PRIORITY, &request.attr);
    blamed(request, Part::Direction, RTE_FLOW_ERROR_TYPE_ATTR_INGRESS, &request.attr);
    blamed(request, Part::Pattern, RTE_FLOW_ERROR_TYPE_ITEM, request.pattern());
    blamed(request, Part::Actions, RTE_FLOW_ERROR_TYPE_ACTION, request.actions());
    blamed(request, Part::Mark, RTE_FLOW_ERROR_TYPE_ACTION_CONF, request.actions() + 1);
    blamed(request, Part::Rewrite, RTE_FLOW_ERROR_TYPE_ACTION_CONF, request.actions() + 2);
    blamed(request, Part::Queue, RTE_FLOW_ERROR_TYPE_ACTION_CONF, request.actions() + 3);
    blamed(shared, Part::Rss, RTE_FLOW_ERROR_TYPE_ACTION_CONF, shared.actions() + 1);
    blamed(jump, Part::Jump, RTE_FLOW_ERROR_TYPE_ACTION_CONF, jump.actions());
    blamed(request, Part::Jump, RTE_FLOW_ERROR_TYPE_ACTION, request.actions()); // has none
    blamed(request, Part::Other, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, nullptr);
}

TEST(FlowRefusal, SaysWhatErrnoSaysWhereThereIsNothingElse) {
    rte_flow_error error{};
    EXPECT_EQ(pmd::refuse(&error, RTE_FLOW_ERROR_TYPE_HANDLE, nullptr, {ENOENT, "destroy flow rule", {}}), -ENOENT);
    EXPECT_STREQ(error.message, "destroy flow rule: No such file or directory");
    const std::string longer(1000, 'x');
    EXPECT_EQ(pmd::refuse(&error, RTE_FLOW_ERROR_TYPE_HANDLE, nullptr, {EINVAL, longer, longer}), -EINVAL);
    EXPECT_EQ(std::string(error.message), longer.substr(0, 255));
}

} // namespace
} // namespace tapflow::test
