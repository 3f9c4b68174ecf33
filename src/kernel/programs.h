// SPDX-License-Identifier: BSD-3-Clause
// The BPF programs of a port, loaded, with the maps that they share.
#pragma once

#include "kernel/bpf.h"
#include "kernel/tun.h"
#include "tapflow/abi/port_state.h"
#include "tapflow/result.h"

#include <cstdint>
#include <memory>

namespace tapflow::kernel {

/// How packets are delivered to the process.
enum class Delivery : uint8_t {
    Ring, ///< the classifier copies them into BPF rings; needs Linux 6.2
    Fd,   ///< the classifier lets the tap's queues have them
};

/// Who searches the ingress rules for a packet.
enum class RuleSearch : uint8_t {
    Tables, ///< the classifier, in tables of its own
    Flower, ///< flower filters in front of it; see bpf/flower.h
};

/// Owns the loaded programs and maps. The fds it names are its own and live as long as it does.
class Programs {
  public:
    /// Loads everything. `tap_ifindex` is where a remote's packets go on their way to an fd; `layer` is the tap's.
    /// Without a remote its program, half of the verifier's time, is left out. Errors: what the verifier or libbpf
    /// said, in the details.
    static Result<std::unique_ptr<Programs>> load(Delivery delivery, int tap_ifindex, Layer layer = Layer::Ethernet,
                                                  RuleSearch search = RuleSearch::Tables, bool has_remote = true);
    ~Programs();
    Programs(const Programs &) = delete;
    Programs &operator=(const Programs &) = delete;

    [[nodiscard]] Delivery delivery() const;
    [[nodiscard]] Layer layer() const;
    [[nodiscard]] RuleSearch search() const;
    [[nodiscard]] int flower_gate(Hook hook) const; ///< what is in front of the filters; -1 without flower
    [[nodiscard]] int tap_egress() const;
    [[nodiscard]] int remote_ingress() const; ///< -1 without a remote
    [[nodiscard]] int tx_redirect() const;
    [[nodiscard]] int steer() const;
    [[nodiscard]] int tap_filter() const; ///< what may reach the tap's queues

    [[nodiscard]] int rings() const;          ///< array of ring maps, by queue; -1 without rings
    [[nodiscard]] int rss_slot() const;       ///< array of one tapflow_rss map
    [[nodiscard]] int transmit_rules() const; ///< for egress rules, at the tap's ingress
    [[nodiscard]] int flow_directory() const; ///< array of one tapflow_flow_directory
    [[nodiscard]] int flow_buckets() const;   ///< arrays of maps: see bpf/flow_tables.h
    [[nodiscard]] int flow_rules() const;
    [[nodiscard]] int flow_cache() const;
    [[nodiscard]] int flow_counters() const;
    [[nodiscard]] int flow_contexts() const; ///< array of tapflow_rss maps
    [[nodiscard]] int addresses() const;     ///< hash of tapflow_port_config::mac-like keys, one byte each
    /// The memory shared with the programs, mapped for as long as this object lives.
    [[nodiscard]] tapflow_port_state &state() const;

  private:
    struct Objects;
    explicit Programs(std::unique_ptr<Objects> objects);
    std::unique_ptr<Objects> objects_;
};

} // namespace tapflow::kernel
