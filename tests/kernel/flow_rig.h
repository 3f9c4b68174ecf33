// SPDX-License-Identifier: BSD-3-Clause
// The classifier with flow rules and without an interface, run packet by packet.
#pragma once

#include "engine/bpf_classifier.h"
#include "engine/flow_rules.h"
#include "flow/reference_matcher.h"
#include "kernel/loaded_classifier.h"
#include "support/must.h"

#include "tapflow/abi/trailer.h"

#include <bpf/bpf.h>
#include <linux/pkt_cls.h>

#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <vector>

namespace tapflow::test {

/// What a program said and did of a packet.
struct Handled {
    int verdict = 0;
    /// Taken from the ring, or from the trailer, which says nothing of the queue.
    std::vector<Delivered> delivered;
};

/// A started, promiscuous port's classifier. RSS hashes everything, over `queues` queues.
class FlowRig {
  public:
    using AttachEgress = std::function<Result<void>(bool)>;

    explicit FlowRig(kernel::Delivery delivery) : FlowRig(16, 64U << 10U, nothing_to_attach, delivery) {}
    explicit FlowRig(unsigned queues = 16, size_t ring_bytes = 64U << 10U,
                     const AttachEgress &attach_egress = nothing_to_attach,
                     kernel::Delivery delivery = kernel::Delivery::Ring)
        : classifier_(must(engine::BpfClassifier::create(delivery, 0))),
          rules_(must(engine::FlowRules::create(
              *classifier_, attach_egress,
              {[] { return std::vector<uint64_t>(); }, [](std::span<const uint64_t>) { return true; }}))) {
        if (delivery == kernel::Delivery::Ring) {
            for (unsigned i = 0; i < queues; i++)
                rings_.push_back(std::make_unique<kernel::Ring>(must(kernel::Ring::create(ring_bytes))));
            must(classifier_->set_rings(rings_));
        }
        rss_ = {{rss::default_key().begin(), rss::default_key().end()},
                rss::kAllTypes,
                rss::round_robin_reta(queues),
                rss::Function::Toeplitz};
        must(classifier_->set_rss(rss_));
        rules_->set_queues(queues);
        must(rules_->set_port_rss(rss_, queues));
        classifier_->set_flag(TAPFLOW_PORT_PROMISCUOUS, true);
        classifier_->set_flag(TAPFLOW_PORT_TRAILER, true);
        classifier_->set_flag(TAPFLOW_PORT_STARTED, true);
    }

    engine::FlowRules &rules() { return *rules_; }
    engine::BpfClassifier &classifier() { return *classifier_; }
    [[nodiscard]] const rss::RssConfig &rss() const { return rss_; }
    [[nodiscard]] bool by_ring() const { return !rings_.empty(); }

    /// BPF_PROG_TEST_RUN of the tap's egress program.
    int run(std::span<const uint8_t> frame) { return run(classifier_->programs().tap_egress(), frame); }
    /// ... of the program for egress rules.
    int run_transmit(std::span<const uint8_t> frame) { return run(classifier_->programs().transmit_rules(), frame); }
    Handled handle(std::span<const uint8_t> frame) {
        Handled handled{run(frame), {}};
        if (by_ring())
            handled.delivered = drain_all();
        else if (handled.verdict == TC_ACT_OK)
            handled.delivered.push_back(from_trailer(frame));
        return handled;
    }

    std::vector<Delivered> drain_all() {
        std::vector<Delivered> all;
        for (unsigned queue = 0; queue < rings_.size(); queue++)
            for (Delivered &delivered : drain(rings_[queue]->view(), queue))
                all.push_back(std::move(delivered));
        return all;
    }

  private:
    static Result<void> nothing_to_attach(bool) { return {}; }

    int run(int program, std::span<const uint8_t> frame) {
        LIBBPF_OPTS(bpf_test_run_opts, options);
        options.data_in = frame.data();
        options.data_size_in = static_cast<uint32_t>(frame.size());
        options.data_out = out_.data();
        options.data_size_out = static_cast<uint32_t>(out_.size());
        options.repeat = 1;
        if (bpf_prog_test_run_opts(program, &options) < 0)
            throw_errno("run a program of the classifier");
        out_size_ = options.data_size_out;
        return static_cast<int>(options.retval);
    }

    Delivered from_trailer(std::span<const uint8_t> frame) const {
        if (out_size_ != frame.size() + sizeof(tapflow_trailer))
            throw std::runtime_error("a packet has no trailer");
        tapflow_trailer trailer;
        std::memcpy(&trailer, out_.data() + frame.size(), sizeof(trailer));
        Delivered delivered;
        tapflow_record &record = delivered.record;
        record.hash = trailer.hash;
        record.mark = trailer.mark;
        record.flags = static_cast<uint16_t>((trailer.flags & TAPFLOW_TRAILER_HASH ? TAPFLOW_RECORD_HASH : 0) |
                                             (trailer.flags & TAPFLOW_TRAILER_MARK ? TAPFLOW_RECORD_MARK : 0) |
                                             (trailer.flags & TAPFLOW_TRAILER_FLAG ? TAPFLOW_RECORD_FLAG : 0));
        return delivered;
    }

    std::unique_ptr<engine::BpfClassifier> classifier_;
    std::unique_ptr<engine::FlowRules> rules_;
    std::vector<std::unique_ptr<kernel::Ring>> rings_;
    rss::RssConfig rss_;
    packet::Bytes out_ = packet::Bytes(4096);
    size_t out_size_ = 0;
};

/// A frame that BPF_PROG_TEST_RUN takes: it refuses those that are too short for the IP header that their ethertype
/// announces.
inline bool can_be_run(const packet::Bytes &frame) {
    if (frame.size() < 15)
        return false;
    const unsigned type = static_cast<unsigned>(frame[12]) << 8U | frame[13];
    return frame.size() >= (type == 0x0800 ? 34U : type == 0x86dd ? 54U : 15U);
}

} // namespace tapflow::test
