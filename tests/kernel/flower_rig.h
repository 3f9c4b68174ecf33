// SPDX-License-Identifier: BSD-3-Clause
// Ports whose rules are flower filters, or are not, and what they make of packets.
#pragma once

#include "flow/text.h"
#include "kernel/flower.h"
#include "kernel/port_fixture.h"
#include "tapflow/abi/trailer.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

namespace tapflow::test {

using engine::RuleClassifier;
constexpr unsigned kQueues = 4;

inline flow::Rule rule_of(const std::string &text) { return must(flow::parse_rule(text)); }

/// A started, promiscuous port with a way to send it packets.
struct TestedPort {
    TestedPort(const NetNs &ns, const std::string &iface, RuleClassifier classifier, const std::string &remote = {},
               engine::RxMode rx = engine::RxMode::Auto, size_t ring_bytes = 1U << 20U)
        : config(rss_config(rss::kAllTypes, rss::round_robin_reta(kQueues))) {
        engine::PortOptions options;
        options.iface = iface;
        options.classifier = classifier;
        options.remote = remote;
        options.rx = rx;
        port = must(engine::Port::open(options));
        must(port->set_queues(kQueues, 1));
        by_ring = port->delivery() == kernel::Delivery::Ring;
        for (unsigned queue = 0; queue < kQueues; queue++)
            must(by_ring ? port->set_ring(queue, ring_bytes) : port->set_reader(queue, 512));
        must(port->set_promiscuous(true));
        must(port->start(config, true));
        if (remote.empty())
            sender.emplace(ns, iface, PacketSocketOptions{.receive = false});
    }

    /// What the port makes of a frame that the kernel sends through its tap; nothing: it is dropped.
    std::optional<Delivered> pass(const packet::Bytes &frame) {
        EXPECT_TRUE(sender->send(frame));
        std::vector<Delivered> all = drain_all();
        EXPECT_LE(all.size(), 1U);
        return all.empty() ? std::nullopt : std::optional(std::move(all[0]));
    }

    std::vector<Delivered> drain_all() {
        std::vector<Delivered> all;
        for (unsigned queue = 0; queue < kQueues; queue++) {
            if (!by_ring)
                read_all(queue, all);
            else
                for (Delivered &delivered : drain(port->ring(queue), queue))
                    all.push_back(std::move(delivered));
        }
        return all;
    }

    engine::FlowRules &rules() { return port->flows(); }

    rss::RssConfig config;
    std::unique_ptr<engine::Port> port;
    bool by_ring = true;
    std::optional<PacketSocket> sender;

  private:
    /// Frames have a trailer, as they are short and no tunnel's.
    void read_all(unsigned queue, std::vector<Delivered> &all) {
        kernel::TunReader &reader = port->reader(queue);
        while (const size_t length = reader.read()) {
            Delivered delivered;
            delivered.queue = queue;
            delivered.frame.assign(reader.frame(), reader.frame() + length);
            tapflow_trailer trailer{};
            if (length >= sizeof(trailer))
                std::memcpy(&trailer, reader.frame() + length - sizeof(trailer), sizeof(trailer));
            const uint64_t cookie = uint64_t{trailer.cookie[1]} << 32U | trailer.cookie[0];
            EXPECT_EQ(cookie, port->state().config.cookie);
            delivered.record.hash = trailer.hash;
            delivered.record.mark = trailer.mark;
            delivered.record.flags =
                static_cast<uint16_t>((trailer.flags & TAPFLOW_TRAILER_MARK ? TAPFLOW_RECORD_MARK : 0) |
                                      (trailer.flags & TAPFLOW_TRAILER_FLAG ? TAPFLOW_RECORD_FLAG : 0));
            all.push_back(std::move(delivered));
        }
    }
};

/// What of a packet the rules decide.
struct Decided {
    bool dropped = false;
    unsigned queue = 0;
    std::optional<uint32_t> mark;
    bool flag = false;
    uint32_t hash = 0;

    bool operator==(const Decided &) const = default;
    friend std::ostream &operator<<(std::ostream &out, const Decided &decided) {
        if (decided.dropped)
            return out << "dropped";
        return out << "queue " << decided.queue << (decided.mark ? ", mark " + std::to_string(*decided.mark) : "")
                   << (decided.flag ? ", flag" : "") << ", hash " << decided.hash;
    }
};

inline Decided decided(const std::optional<Delivered> &delivered) {
    Decided result;
    result.dropped = !delivered;
    if (!delivered)
        return result;
    const tapflow_record &record = delivered->record;
    result.queue = delivered->queue;
    result.hash = record.hash;
    result.flag = (record.flags & TAPFLOW_RECORD_FLAG) != 0;
    if (record.flags & TAPFLOW_RECORD_MARK)
        result.mark = record.mark;
    return result;
}

/// Whether the kernel has flower filters, tried in the calling thread's namespace.
inline bool has_flower() {
    engine::PortOptions options;
    options.iface = "probe%d";
    options.classifier = RuleClassifier::Flower;
    auto port = engine::Port::open(options);
    if (!port && port.error().code == ENOENT)
        return false;
    must(std::move(port));
    return true;
}

class FlowerRules : public InNetNs {
  protected:
    void SetUp() override {
        static const bool lacks_flower = !has_flower();
        if (lacks_flower)
            GTEST_SKIP() << "kernel lacks flower";
    }
};

} // namespace tapflow::test
