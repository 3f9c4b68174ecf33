// SPDX-License-Identifier: BSD-3-Clause
// A port of the engine in a network namespace of its own.
#pragma once

#include "engine/port.h"
#include "kernel/loaded_classifier.h"
#include "support/expected_record.h"
#include "support/must.h"
#include "support/netns.h"
#include "support/packet_socket.h"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>

namespace tapflow::test {

struct PortSetup {
    std::string remote{};
    unsigned queues = 4;
    size_t ring_bytes = 1U << 20U;
    unsigned mtu = 1500;
    uint64_t types = rss::kAllTypes;
};

/// The test's thread is in the namespace for as long as the fixture lives.
class InNetNs : public testing::Test {
  protected:
    NetNs ns;
    NetNsGuard inside{ns.fd()};
};

/// A started, promiscuous port "tap0" whose records are compared with what the host makes of the same frames.
class PortTest : public InNetNs {
  protected:
    void open(const PortSetup &setup = {}) {
        config = rss_config(setup.types, rss::round_robin_reta(setup.queues));
        tables = tables_of(config);
        engine::PortOptions options;
        options.iface = "tap0";
        options.remote = setup.remote;
        port = must(engine::Port::open(options));
        must(port->set_queues(setup.queues, 1));
        for (unsigned queue = 0; queue < setup.queues; queue++)
            must(port->set_ring(queue, setup.ring_bytes));
        must(port->set_promiscuous(true));
        must(port->set_mtu(setup.mtu));
        must(port->start(config, true));
        queues = setup.queues;
    }

    std::vector<Delivered> drain_all() {
        std::vector<Delivered> all;
        for (unsigned queue = 0; queue < queues; queue++)
            for (Delivered &delivered : drain(port->ring(queue), queue))
                all.push_back(std::move(delivered));
        return all;
    }

    /// The one record there is. What the kernel sends through a tap is in the ring when the send call returns.
    Delivered only_record() {
        auto all = drain_all();
        if (all.size() != 1)
            throw std::runtime_error(std::to_string(all.size()) + " records where one was expected");
        return std::move(all[0]);
    }

    /// Class, offsets, hash, queue and bytes are what the host says of `frame`.
    void expect_described(const Delivered &delivered, const packet::Bytes &frame, uint16_t outer_tpid = 0) const {
        const tapflow_record &record = delivered.record;
        const Classified got{record.packet_class, record.l3_offset,
                             record.l4_offset,    (record.flags & TAPFLOW_RECORD_HASH) != 0,
                             record.hash,         delivered.queue};
        EXPECT_EQ(got, classify(*tables, frame, outer_tpid));
        EXPECT_EQ(record.length, frame.size());
        EXPECT_TRUE(delivered.frame == frame) << "the frame's bytes differ";
    }

    rss::RssConfig config;
    std::unique_ptr<tapflow_rss> tables;
    std::unique_ptr<engine::Port> port;
    unsigned queues = 0;
};

} // namespace tapflow::test
