// SPDX-License-Identifier: BSD-3-Clause
// Flow rules of a port in the test's own process, and packets that come in on it.
#pragma once

#include "pmd/ethdev_fixture.h"
#include "pmd/flow_request.h"

#include <rte_byteorder.h>
#include <rte_errno.h>
#include <rte_flow.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace tapflow::test {

struct Count {
    uint64_t packets = 0;
    uint64_t bytes = 0;

    bool operator==(const Count &) const = default;
    Count &operator+=(const Count &other) {
        packets += other.packets;
        bytes += other.bytes;
        return *this;
    }
};
inline std::ostream &operator<<(std::ostream &out, const Count &count) {
    return out << count.packets << " packets, " << count.bytes << " bytes";
}

class FlowEthdev : public Ethdev {
  protected:
    rte_flow *create(const FlowRequest &request) const {
        rte_flow_error error{};
        rte_flow *flow = rte_flow_create(port(), &request.attr, request.pattern(), request.actions(), &error);
        EXPECT_NE(flow, nullptr) << (error.message ? error.message : "");
        return flow;
    }

    void destroy(rte_flow *flow) const {
        rte_flow_error error{};
        EXPECT_EQ(rte_flow_destroy(port(), flow, &error), 0) << error.message;
    }

    [[nodiscard]] Count query(rte_flow *flow, bool reset = false) const {
        const std::array<rte_flow_action, 2> actions{{{.type = RTE_FLOW_ACTION_TYPE_COUNT, .conf = nullptr}, {}}};
        rte_flow_query_count count{};
        count.reset = reset;
        rte_flow_error error{};
        EXPECT_EQ(rte_flow_query(port(), flow, actions.data(), &count, &error), 0) << error.message;
        return {count.hits, count.bytes};
    }

    /// One burst of each queue; `each(mbuf, queue)` does not free it. Returns how many came.
    template <typename Each> unsigned poll_queues(uint16_t queues, Each each) {
        unsigned total = 0;
        for (uint16_t queue = 0; queue < queues; ++queue) {
            std::array<rte_mbuf *, 32> burst{};
            const uint16_t count = rte_eth_rx_burst(port(), queue, burst.data(), burst.size());
            for (uint16_t i = 0; i < count; ++i) {
                each(*burst[i], queue);
                rte_pktmbuf_free(burst[i]);
            }
            total += count;
        }
        return total;
    }

    [[nodiscard]] packet::Mac mac() const { return ns().link("tap0").mac; }
};

} // namespace tapflow::test
