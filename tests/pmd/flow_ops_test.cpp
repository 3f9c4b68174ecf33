// SPDX-License-Identifier: BSD-3-Clause
// rte_flow's operations on a port in the test's own process.
#include "pmd/ethdev_fixture.h"
#include "pmd/flow_members.h"
#include "pmd/flow_request.h"
#include "support/seed.h"

#include <rte_byteorder.h>
#include <rte_errno.h>
#include <rte_flow.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <thread>

namespace tapflow::test {
namespace {

/// What an operation has said.
struct Answer {
    int code = 0; ///< rte_errno
    rte_flow_error_type type{};
    const void *cause = nullptr;
    std::string message;

    bool operator==(const Answer &) const = default;
};

std::ostream &operator<<(std::ostream &out, const Answer &answer) {
    return out << answer.code << " type " << answer.type << " cause " << answer.cause << " " << answer.message;
}

/// Of an operation that has returned `status`.
Answer answer_of(int status, const rte_flow_error &error) {
    EXPECT_EQ(status, -rte_errno);
    return {rte_errno, error.type, error.cause, error.message ? error.message : ""};
}

class FlowOps : public Ethdev {
  protected:
    Answer validate(const FlowRequest &request) const {
        rte_flow_error error{};
        rte_errno = 99;
        return answer_of(rte_flow_validate(port(), &request.attr, request.pattern(), request.actions(), &error), error);
    }

    /// `flow` is null unless the answer's code is 0.
    Answer create(const FlowRequest &request, rte_flow *&flow) const {
        rte_flow_error error{};
        rte_errno = 99;
        flow = rte_flow_create(port(), &request.attr, request.pattern(), request.actions(), &error);
        EXPECT_EQ(flow != nullptr, rte_errno == 0);
        return answer_of(-rte_errno, error);
    }

    rte_flow *create(const FlowRequest &request) const {
        rte_flow *flow = nullptr;
        EXPECT_EQ(create(request, flow), Answer{});
        return flow;
    }

    Answer destroy(rte_flow *flow) const {
        rte_flow_error error{};
        rte_errno = 99;
        return answer_of(rte_flow_destroy(port(), flow, &error), error);
    }

    Answer query(rte_flow *flow, rte_flow_action_type type, rte_flow_query_count &count) const {
        const std::array<rte_flow_action, 2> actions{{{.type = type, .conf = nullptr}, {}}};
        rte_flow_error error{};
        rte_errno = 99;
        return answer_of(rte_flow_query(port(), flow, actions.data(), &count, &error), error);
    }

    std::string dump(rte_flow *flow = nullptr) const {
        char *text = nullptr;
        size_t size = 0;
        FILE *file = open_memstream(&text, &size);
        rte_flow_error error{};
        rte_errno = 99;
        EXPECT_EQ(rte_flow_dev_dump(port(), flow, file, &error), 0) << error.message;
        EXPECT_EQ(rte_errno, 0);
        std::fclose(file);
        const std::string dumped(text, size);
        std::free(text);
        return dumped;
    }
};

/// Requests of all kinds, about half of them wrong in some way.
class RandomRequests {
  public:
    explicit RandomRequests(std::mt19937_64 random) : random_(random) {}

    FlowRequest next() {
        FlowRequest request;
        request.attr.group = static_cast<uint32_t>(chance(3) ? 16 : below(3));
        request.attr.priority = static_cast<uint32_t>(chance(3) ? 4096 : below(4));
        request.attr.transfer = chance(2);
        request.attr.egress = chance(10);
        request.attr.ingress = !request.attr.egress || chance(10);
        add_items(request);
        for (size_t i = below(4); i > 0; i--)
            add_action(request);
        if (chance(80))
            request.queue(static_cast<uint16_t>(below(5)));
        return request;
    }

  private:
    size_t below(size_t limit) { return random_() % limit; }
    bool chance(unsigned percent) { return below(100) < percent; }

    void add_items(FlowRequest &request) {
        static constexpr std::array kBegin{RTE_FLOW_ITEM_TYPE_ETH, RTE_FLOW_ITEM_TYPE_VLAN, RTE_FLOW_ITEM_TYPE_VOID};
        if (chance(60))
            request.item(kBegin[below(kBegin.size())]);
        if (chance(2))
            request.item(RTE_FLOW_ITEM_TYPE_RAW);
        for (size_t i = below(3); i > 0; i--)
            add_member(request,
                       chance(5) ? kUnmatched[below(kUnmatched.size())] : kWholeMembers[below(kWholeMembers.size())]);
    }

    void add_member(FlowRequest &request, const MemberCase &member) {
        std::array<std::array<uint8_t, 64>, 3> structures{}; // spec, mask, last
        for (size_t i = 0; i < member.bytes; i++)
            for (size_t j = 0; j < (chance(10) ? 3U : 2U); j++)
                structures[j][member.offset + i] = static_cast<uint8_t>(random_());
        request.item(member.type, structures[0], structures[1], structures[2]);
    }

    void add_action(FlowRequest &request) {
        switch (below(12)) {
        case 0:
            request.action(RTE_FLOW_ACTION_TYPE_DROP);
            break;
        case 1:
            request.action(RTE_FLOW_ACTION_TYPE_PASSTHRU);
            break;
        case 2:
        case 3:
            request.action(RTE_FLOW_ACTION_TYPE_COUNT);
            break;
        case 4:
        case 5:
            request.action(RTE_FLOW_ACTION_TYPE_MARK, rte_flow_action_mark{.id = static_cast<uint32_t>(random_())});
            break;
        case 6:
            request.action(RTE_FLOW_ACTION_TYPE_FLAG);
            break;
        case 7:
            request.action(RTE_FLOW_ACTION_TYPE_JUMP, rte_flow_action_jump{.group = static_cast<uint32_t>(below(17))});
            break;
        case 8:
            add_rss(request);
            break;
        case 9:
            request.action(RTE_FLOW_ACTION_TYPE_DEC_TTL);
            break;
        case 10:
            request.action(RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID,
                           rte_flow_action_of_set_vlan_vid{.vlan_vid = static_cast<uint16_t>(random_())});
            break;
        default:
            request.action(chance(50) ? RTE_FLOW_ACTION_TYPE_VOID : RTE_FLOW_ACTION_TYPE_METER);
            break;
        }
    }

    void add_rss(FlowRequest &request) {
        static constexpr std::array<uint16_t, 5> queues{0, 1, 2, 3, 4};
        rte_flow_action_rss rss{};
        rss.types = chance(10) ? random_() : uint64_t{RTE_ETH_RSS_IP};
        rss.level = static_cast<uint32_t>(below(4));
        rss.queue = queues.data();
        rss.queue_num = static_cast<uint32_t>(below(queues.size() + 1));
        request.action(RTE_FLOW_ACTION_TYPE_RSS, rss);
    }

    std::mt19937_64 random_;
};

TEST_F(FlowOps, ValidateSaysWhatCreateDoes) {
    configure_and_start(4);
    RandomRequests requests(seeded_random());
    std::vector<rte_flow *> flows;
    std::map<int, unsigned> codes;
    for (int round = 0; round < 20000; ++round) {
        const FlowRequest request = requests.next();
        const Answer foretold = validate(request);
        rte_flow *flow = nullptr;
        const Answer answer = create(request, flow);
        ASSERT_EQ(foretold, answer) << "round " << round;
        codes[answer.code]++;
        if (answer.code == 0)
            flows.push_back(flow);
        else
            EXPECT_FALSE(answer.message.empty());
        if (flows.size() == 100) {
            for (rte_flow *each : flows)
                EXPECT_EQ(destroy(each), Answer{});
            flows.clear();
        }
    }
    for (const int code : {0, EINVAL, ENOTSUP, ERANGE, EEXIST})
        EXPECT_GT(codes[code], 20U) << std::strerror(code);
}

TEST_F(FlowOps, RefusesTheSameMatchAtTheSamePriority) {
    configure_and_start(2);
    rte_flow *first = create(to_udp_port(80).queue(0));
    FlowRequest again = to_udp_port(80);
    again.queue(1);
    rte_flow *flow = nullptr;
    EXPECT_EQ(create(again, flow).code, EEXIST);
    EXPECT_EQ(validate(again).code, EEXIST);
    again.attr.priority = 1;
    create(again);
    EXPECT_EQ(destroy(first), Answer{});
    again.attr.priority = 0;
    create(again);
}

TEST_F(FlowOps, RefusesHandlesThatAreNone) {
    configure_and_start(2);
    rte_flow *flow = create(to_udp_port(80).queue(0));
    EXPECT_EQ(destroy(flow), Answer{});
    int something = 0;
    const std::array garbage{flow, static_cast<rte_flow *>(nullptr), reinterpret_cast<rte_flow *>(&something),
                             reinterpret_cast<rte_flow *>(uintptr_t{1})};
    for (rte_flow *handle : garbage) {
        const Answer refused = destroy(handle);
        EXPECT_EQ(refused.code, ENOENT);
        EXPECT_EQ(refused.type, RTE_FLOW_ERROR_TYPE_HANDLE);
        EXPECT_EQ(refused.cause, handle);
        rte_flow_query_count count{};
        EXPECT_EQ(query(handle, RTE_FLOW_ACTION_TYPE_COUNT, count).code, ENOENT);
    }
}

TEST_F(FlowOps, FlushTakesAllRulesAway) {
    configure_and_start(2);
    std::vector<rte_flow *> flows;
    for (const uint16_t number : std::array<uint16_t, 3>{1, 2, 3})
        flows.push_back(create(to_udp_port(number).queue(0)));
    rte_flow_error error{};
    rte_errno = 99;
    EXPECT_EQ(rte_flow_flush(port(), &error), 0);
    EXPECT_EQ(rte_errno, 0);
    EXPECT_EQ(dump(), "");
    for (rte_flow *flow : flows)
        EXPECT_EQ(destroy(flow).code, ENOENT);
    for (const uint16_t number : std::array<uint16_t, 3>{1, 2, 3})
        create(to_udp_port(number).queue(0));
    EXPECT_EQ(rte_flow_flush(port(), &error), 0);
    EXPECT_EQ(rte_flow_flush(port(), &error), 0);
}

TEST_F(FlowOps, OnlyCountsCanBeQueried) {
    configure_and_start(2);
    rte_flow *counting = create(to_udp_port(1).action(RTE_FLOW_ACTION_TYPE_COUNT).queue(0));
    rte_flow *silent = create(to_udp_port(2).queue(0));
    rte_flow_query_count count{};
    count.hits = 77;
    EXPECT_EQ(query(counting, RTE_FLOW_ACTION_TYPE_COUNT, count), Answer{});
    EXPECT_EQ(count.hits_set, 1U);
    EXPECT_EQ(count.bytes_set, 1U);
    EXPECT_EQ(count.hits, 0U);
    EXPECT_EQ(count.bytes, 0U);
    const Answer refused = query(silent, RTE_FLOW_ACTION_TYPE_COUNT, count);
    EXPECT_EQ(refused.code, EINVAL);
    EXPECT_EQ(refused.type, RTE_FLOW_ERROR_TYPE_ACTION);
    const Answer other = query(counting, RTE_FLOW_ACTION_TYPE_QUEUE, count);
    EXPECT_EQ(other.code, ENOTSUP);
    EXPECT_EQ(other.message, "action QUEUE: only COUNT can be queried");
}

TEST_F(FlowOps, RulesAreThereBeforeTheStartAndAfterTheStop) {
    rte_flow *early = create(to_udp_port(1).action(RTE_FLOW_ACTION_TYPE_COUNT).queue(0));
    configure_and_start(2);
    ASSERT_EQ(rte_eth_dev_stop(port()), 0);
    EXPECT_EQ(validate(to_udp_port(1).queue(1)).code, EEXIST);
    rte_flow *between = create(to_udp_port(2).queue(1));
    ASSERT_EQ(rte_eth_dev_start(port()), 0);
    rte_flow_query_count count{};
    EXPECT_EQ(query(early, RTE_FLOW_ACTION_TYPE_COUNT, count), Answer{});
    EXPECT_EQ(destroy(early), Answer{});
    EXPECT_EQ(destroy(between), Answer{});
}

TEST_F(FlowOps, DumpsALineForEachRule) {
    configure_and_start(2);
    rte_flow *first = create(to_udp_port(80).action(RTE_FLOW_ACTION_TYPE_COUNT).queue(1));
    FlowRequest second = to_udp_port(81);
    second.action(RTE_FLOW_ACTION_TYPE_DROP);
    second.attr.priority = 5;
    rte_flow *other = create(second);
    const std::string lines[] = {dump(first), dump(other)};
    EXPECT_EQ(dump(), lines[0] + lines[1]);
    EXPECT_EQ(lines[0],
              "ingress group 0 priority 0 pattern eth / ipv4 / udp dst is 80 / end actions count / queue index 1 / "
              "end # 0 packets, 0 bytes\n");
    EXPECT_EQ(lines[1], "ingress group 0 priority 5 pattern eth / ipv4 / udp dst is 81 / end actions drop / end\n");
    FILE *full = std::fopen("/dev/full", "w");
    ASSERT_NE(full, nullptr);
    setbuf(full, nullptr);
    rte_flow_error error{};
    EXPECT_EQ(rte_flow_dev_dump(port(), nullptr, full, &error), -EIO);
    std::fclose(full);
    EXPECT_EQ(rte_flow_dev_dump(port(), reinterpret_cast<rte_flow *>(uintptr_t{1}), stderr, &error), -ENOENT);
    EXPECT_EQ(error.type, RTE_FLOW_ERROR_TYPE_HANDLE);
}

/// What Open vSwitch asks for each megaflow, in this order.
TEST_F(FlowOps, TakesOpenVSwitchsRequests) {
    configure_and_start(4);
    const std::array<uint16_t, 4> queues{0, 1, 2, 3};
    rte_flow_action_rss rss{};
    rss.types = 0x3afbc;
    rss.queue_num = queues.size();
    rss.queue = queues.data();
    FlowRequest request = to_udp_port(4789);
    request.action(RTE_FLOW_ACTION_TYPE_MARK, rte_flow_action_mark{.id = 1}).action(RTE_FLOW_ACTION_TYPE_RSS, rss);
    request.attr = {};
    request.attr.transfer = 1;
    rte_flow *flow = nullptr;
    EXPECT_EQ(create(request, flow).type, RTE_FLOW_ERROR_TYPE_ATTR_TRANSFER);
    request.attr = {};
    request.attr.ingress = 1;
    create(request);
}

class IndirectActions : public FlowOps {
  protected:
    rte_flow_action_handle *create_handle(rte_flow_action_type type, const void *conf, Answer &answer) const {
        rte_flow_indir_action_conf where{};
        where.ingress = 1;
        const rte_flow_action action{.type = type, .conf = conf};
        rte_flow_error error{};
        rte_errno = 99;
        auto *handle = rte_flow_action_handle_create(port(), &where, &action, &error);
        EXPECT_EQ(handle != nullptr, rte_errno == 0);
        answer = answer_of(-rte_errno, error);
        return handle;
    }

    Answer destroy_handle(rte_flow_action_handle *handle) const {
        rte_flow_error error{};
        rte_errno = 99;
        return answer_of(rte_flow_action_handle_destroy(port(), handle, &error), error);
    }

    Answer update_handle(rte_flow_action_handle *handle, rte_flow_action_type type, const void *conf) const {
        const rte_flow_action action{.type = type, .conf = conf};
        rte_flow_error error{};
        rte_errno = 99;
        return answer_of(rte_flow_action_handle_update(port(), handle, &action, &error), error);
    }

    Answer query_handle(rte_flow_action_handle *handle, rte_flow_query_count &count) const {
        rte_flow_error error{};
        rte_errno = 99;
        return answer_of(rte_flow_action_handle_query(port(), handle, &count, &error), error);
    }
};

TEST_F(IndirectActions, AreUsedByManyRulesAndStayUntilNoneUsesThem) {
    configure_and_start(4);
    Answer answer;
    const std::array<uint16_t, 2> queues{2, 3};
    rte_flow_action_rss rss{};
    rss.queue = queues.data();
    rss.queue_num = queues.size();
    auto *spread = create_handle(RTE_FLOW_ACTION_TYPE_RSS, &rss, answer);
    ASSERT_EQ(answer, Answer{});
    auto *counter = create_handle(RTE_FLOW_ACTION_TYPE_COUNT, nullptr, answer);
    ASSERT_EQ(answer, Answer{});
    std::vector<rte_flow *> flows;
    for (const uint16_t number : std::array<uint16_t, 2>{1, 2})
        flows.push_back(create(to_udp_port(number)
                                   .action(RTE_FLOW_ACTION_TYPE_INDIRECT, counter)
                                   .action(RTE_FLOW_ACTION_TYPE_INDIRECT, spread)));
    for (auto *handle : {spread, counter}) {
        const Answer refused = destroy_handle(handle);
        EXPECT_EQ(refused.code, EBUSY);
        EXPECT_EQ(refused.type, RTE_FLOW_ERROR_TYPE_HANDLE);
        EXPECT_EQ(refused.cause, handle);
    }
    rte_flow_query_count count{};
    EXPECT_EQ(query_handle(counter, count), Answer{});
    EXPECT_EQ(count.hits_set, 1U);
    rss.queue_num = 1;
    EXPECT_EQ(update_handle(spread, RTE_FLOW_ACTION_TYPE_RSS, &rss), Answer{});
    for (rte_flow *flow : flows)
        EXPECT_EQ(destroy(flow), Answer{});
    for (auto *handle : {spread, counter}) {
        EXPECT_EQ(destroy_handle(handle), Answer{});
        EXPECT_EQ(destroy_handle(handle).code, ENOENT);
    }
    FlowRequest late = to_udp_port(1);
    late.action(RTE_FLOW_ACTION_TYPE_INDIRECT, spread);
    const Answer refused = validate(late);
    EXPECT_EQ(refused.code, ENOENT);
    rte_flow *flow = nullptr;
    EXPECT_EQ(create(late, flow), refused);
}

TEST_F(IndirectActions, RefuseWhatTheyCannotDo) {
    configure_and_start(2);
    Answer answer;
    const rte_flow_action_queue queue{.index = 1};
    EXPECT_EQ(create_handle(RTE_FLOW_ACTION_TYPE_QUEUE, &queue, answer), nullptr);
    EXPECT_EQ(answer.code, ENOTSUP);
    EXPECT_EQ(answer.message, "action QUEUE: only RSS and COUNT can be indirect");
    EXPECT_EQ(create_handle(RTE_FLOW_ACTION_TYPE_RSS, nullptr, answer), nullptr);
    EXPECT_EQ(answer.message, "action RSS: its configuration is missing");
    const uint16_t none = 2;
    rte_flow_action_rss rss{};
    rss.queue = &none;
    rss.queue_num = 1;
    EXPECT_EQ(create_handle(RTE_FLOW_ACTION_TYPE_RSS, &rss, answer), nullptr);
    EXPECT_EQ(answer.code, ERANGE);
    EXPECT_EQ(answer.type, RTE_FLOW_ERROR_TYPE_ACTION_CONF);
    auto *counter = create_handle(RTE_FLOW_ACTION_TYPE_COUNT, nullptr, answer);
    ASSERT_NE(counter, nullptr);
    EXPECT_EQ(update_handle(counter, RTE_FLOW_ACTION_TYPE_COUNT, nullptr).code, ENOTSUP);
    rss.queue_num = 0;
    auto *spread = create_handle(RTE_FLOW_ACTION_TYPE_RSS, &rss, answer);
    ASSERT_NE(spread, nullptr);
    EXPECT_EQ(update_handle(spread, RTE_FLOW_ACTION_TYPE_QUEUE, &queue).code, EINVAL);
    rte_flow_query_count count{};
    EXPECT_EQ(query_handle(spread, count).code, ENOTSUP);
    auto *garbage = reinterpret_cast<rte_flow_action_handle *>(uintptr_t{0x7fff12345678});
    EXPECT_EQ(destroy_handle(garbage).code, ENOENT);
    EXPECT_EQ(update_handle(garbage, RTE_FLOW_ACTION_TYPE_RSS, &rss).code, ENOENT);
    EXPECT_EQ(destroy_handle(counter), Answer{});
    EXPECT_EQ(destroy_handle(spread), Answer{});
}

TEST_F(FlowOps, MayBeCalledByManyThreads) {
    rte_eth_dev_info info{};
    ASSERT_EQ(rte_eth_dev_info_get(port(), &info), 0);
    EXPECT_TRUE(*info.dev_flags & RTE_ETH_DEV_FLOW_OPS_THREAD_SAFE);
    configure_and_start(2);
    std::array<unsigned, 3> created{};
    std::vector<std::thread> threads;
    for (uint16_t thread = 0; thread < created.size(); ++thread)
        threads.emplace_back([&, thread] {
            pin_to(cpus());
            for (uint16_t round = 0; round < 500; ++round) {
                FlowRequest request = to_udp_port(static_cast<uint16_t>(thread * 10000 + round));
                request.queue(thread % 2).action(RTE_FLOW_ACTION_TYPE_COUNT);
                rte_flow_error error{};
                rte_flow *flow = rte_flow_create(port(), &request.attr, request.pattern(), request.actions(), &error);
                if (flow != nullptr && (round % 2 == 0 || rte_flow_destroy(port(), flow, &error) == 0))
                    created[thread]++;
            }
        });
    for (std::thread &thread : threads)
        thread.join();
    for (const unsigned count : created)
        EXPECT_EQ(count, 500U);
    const std::string dumped = dump();
    EXPECT_EQ(std::count(dumped.begin(), dumped.end(), '\n'), 750);
}

} // namespace
} // namespace tapflow::test
