// SPDX-License-Identifier: BSD-3-Clause
// The memory of the rules' tables: BPF maps, made as they are needed.
#pragma once

#include "engine/bpf_classifier.h"
#include "flow/rule.h"
#include "flow/tables.h"
#include "kernel/bpf.h"
#include "kernel/fd.h"
#include "tapflow/result.h"

#include <array>
#include <memory>
#include <vector>

namespace tapflow::engine {

/// Maps that the classifier reads and the process writes. Grows, and is freed with the port.
///
/// Thread safety: none.
class FlowTables {
  public:
    static Result<std::unique_ptr<FlowTables>> create(BpfClassifier &classifier);

    [[nodiscard]] tapflow_flow_tables &tables() { return tables_; }
    [[nodiscard]] const tapflow_flow_tables &tables() const { return tables_; }

    /// Makes what every rule needs, with room for the first ones.
    Result<void> prepare();
    /// Makes room for the first 4,096 rules, and then for all that there can be.
    Result<void> grow();
    /// Gives each CPU memory for what it has found.
    Result<void> prepare_cache();
    /// Gives rules counters, those of later growth too.
    Result<void> prepare_counters();
    Result<void> prepare_shared_counters();
    /// Null while there is no memory for it.
    [[nodiscard]] tapflow_flow_counter *counter(uint32_t index) const;
    /// Starts a counter at 0; no packet counts by it.
    void clear_counter(uint32_t index) const;
    /// What a number of header changes stands for, for who looks at the port from outside.
    Result<void> publish_rewrites(uint16_t number, const std::vector<flow::Rewrite> &changes);
    void withdraw_rewrites(uint16_t number) const;
    /// Returns when no packet is under way with what it has found in the tables.
    Result<void> wait() { return classifier_.quiesce(); }

  private:
    explicit FlowTables(BpfClassifier &classifier) : classifier_(classifier) {}

    /// A map and where it is in our memory.
    struct Shared {
        kernel::Fd map;
        kernel::Mapping memory;
    };
    static Result<Shared> make(const char *name, size_t entry_bytes, size_t entries);
    static Result<void> add(int outer, std::vector<Shared> &to, size_t wanted, const char *name, size_t entry_bytes);
    Result<void> install_buckets(const Shared &buckets);
    Result<void> add_counters();

    BpfClassifier &classifier_;
    tapflow_flow_tables tables_;
    kernel::Mapping directory_;
    Shared buckets_;
    std::vector<Shared> rules_;
    std::vector<Shared> counters_;
    Shared shared_counters_;
    kernel::Fd cache_;
    kernel::Fd rewrites_;
    bool counting_ = false;
};

} // namespace tapflow::engine
