// SPDX-License-Identifier: BSD-3-Clause
// Ports whose decisions are traced while packets come.
#pragma once

#include "engine/trace.h"
#include "kernel/flower_rig.h"
#include "support/bpf_ids.h"
#include "support/kernel_version.h"
#include "support/wait.h"

#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace tapflow::test {

using kernel::TraceMethod;
using kernel::TracePrograms;

struct Traced {
    tapflow_trace_event event{};
    packet::Bytes frame;
};

inline std::vector<Traced> read_all(TracePrograms &tracer) {
    std::vector<Traced> all;
    must(tracer.read([&](const tapflow_trace_event &event, std::span<const uint8_t> frame) {
        all.push_back({event, {frame.begin(), frame.end()}});
    }));
    return all;
}

/// As many events, or fewer if no more come.
inline std::vector<Traced> wait_for_events(TracePrograms &tracer, size_t count) {
    std::vector<Traced> all;
    (void)wait_until([&] {
        for (Traced &one : read_all(tracer))
            all.push_back(std::move(one));
        return all.size() >= count;
    });
    return all;
}

/// Whether the kernel calls programs of one's own when a classifier's functions return.
inline bool takes_exit_programs() {
    // Two instructions: return 0. What is asked is whether a program of that kind is looked at at all.
    const bpf_insn instructions[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
        {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
    LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = BPF_TRACE_FEXIT, .attach_btf_id = 0x7fffffff);
    const Fd program(bpf_prog_load(BPF_PROG_TYPE_TRACING, "probe", "GPL", instructions, 2, &options));
    return errno != EPERM;
}

inline std::string method_name(TraceMethod method) { return method == TraceMethod::Exit ? "Exit" : "Front"; }

/// In which way a port is traced, and which port: rx=ring or rx=fd, local or with a remote "eth3".
struct TraceCase {
    TraceMethod method = TraceMethod::Exit;
    kernel::Delivery delivery = kernel::Delivery::Ring;
    bool remote = false;

    [[nodiscard]] std::string name() const {
        return method_name(method) + (delivery == kernel::Delivery::Ring ? "Ring" : "Fd") +
               (remote ? "Remote" : "Local");
    }
};
inline void PrintTo(const TraceCase &traced, std::ostream *out) { *out << traced.name(); }

class TraceTest : public InNetNs {
  protected:
    void open(const TraceCase &wanted, RuleClassifier classifier = RuleClassifier::Bpf, size_t ring_bytes = 1U << 20U) {
        traced = wanted;
        if (wanted.remote)
            add_veth(ns, "eth3", peer, "peer");
        const bool ring = wanted.delivery == kernel::Delivery::Ring;
        tested.emplace(ns, "tap0", classifier, wanted.remote ? "eth3" : "",
                       ring ? engine::RxMode::Ring : engine::RxMode::Fd, ring_bytes);
        if (wanted.remote)
            sender.emplace(peer, "peer", PacketSocketOptions{.receive = false});
        else
            sender.emplace(ns, "tap0", PacketSocketOptions{.receive = false});
    }
    [[nodiscard]] static std::optional<std::string> why_not(const TraceCase &wanted) {
        if (wanted.delivery == kernel::Delivery::Ring && !kernel_is_at_least(6, 2))
            return "kernel lacks what the classifier of rings reads packets with";
        if (wanted.method == TraceMethod::Exit && !takes_exit_programs())
            return "kernel lacks programs behind other programs (it refuses BPF_TRACE_FEXIT)";
        if (wanted.method == TraceMethod::Front && !kernel_is_at_least(6, 6))
            return "kernel lacks TCX";
        return {};
    }

    [[nodiscard]] std::unique_ptr<TracePrograms> trace(const engine::TraceOptions &options) {
        engine::TraceOptions wanted = options;
        wanted.method = traced.method;
        if (!inspected)
            inspected.emplace(must(engine::find_port("tap0")));
        return must(engine::trace(*inspected, wanted));
    }
    [[nodiscard]] std::unique_ptr<TracePrograms> trace(const tapflow_trace_filter &filter = {}) {
        return trace(engine::TraceOptions{
            .options = {.filter = filter, .snaplen = 65280, .one_in = 0, .rate = 0, .reserved = 0}});
    }
    void send(const packet::Bytes &frame) { (void)sender->send(frame); }
    /// What arrives at a remote may be taken there by a thread of the kernel's.
    std::vector<Delivered> wait_for_delivery() {
        std::vector<Delivered> all;
        (void)wait_until([&] {
            all = tested->drain_all();
            return !all.empty();
        });
        return all;
    }
    [[nodiscard]] MacAddress own() const { return tested->port->mac(); }
    [[nodiscard]] packet::Packet to_port() const { return packet::Packet().ether(own(), packet::Mac{}); }
    [[nodiscard]] packet::Bytes udp(uint16_t source, uint16_t destination) const {
        return to_port().ipv4("10.0.0.1", "10.0.0.2").udp(source, destination).payload(50).bytes();
    }

    NetNs peer;
    TraceCase traced;
    std::optional<TestedPort> tested;
    std::optional<PacketSocket> sender;
    std::optional<engine::InspectedPort> inspected;
};

} // namespace tapflow::test
