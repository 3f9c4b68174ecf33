// SPDX-License-Identifier: BSD-3-Clause
// The header changes of rules, by the numbers that records carry.
#pragma once

#include "flow/rule.h"
#include "tapflow/result.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

namespace tapflow::engine {

/// When numbers that are no longer used may be used again: when no record in a ring has them.
struct RecordClock {
    /// How far records have been written, ring by ring, once no packet is under way (errors: it cannot be told); and
    /// whether all of them up to such a point have been read.
    std::function<Result<std::vector<uint64_t>>()> written;
    std::function<bool(std::span<const uint64_t>)> read_up_to;
};

/// Rules that change the same share a number.
///
/// Thread safety: get() from any thread; the others are serialised by the owner.
class RewriteLists {
  public:
    explicit RewriteLists(RecordClock clock);
    ~RewriteLists();
    RewriteLists(const RewriteLists &) = delete;
    RewriteLists &operator=(const RewriteLists &) = delete;

    using List = std::vector<flow::Rewrite>;
    /// Errors: ENOSPC when 65,535 lists are in use, or in records that nobody reads.
    Result<uint16_t> acquire(const List &list);
    /// Returns whether no rule uses it any more; records may.
    bool release(uint16_t number);
    /// Null for a number that stands for nothing.
    [[nodiscard]] const List *get(uint16_t number) const { return table_[number].load(std::memory_order_acquire); }

  private:
    struct Less {
        bool operator()(const List &a, const List &b) const;
    };
    struct Use {
        uint16_t number = 0;
        uint32_t uses = 0;
        bool waiting = false;    ///< in unused_ or cooling_
        bool used_since = false; ///< ... and then used once more
    };
    using Lists = std::map<List, Use, Less>;
    void reclaim();

    RecordClock clock_;
    Lists lists_;
    std::array<std::atomic<const List *>, 65536> table_{};
    std::vector<Lists::iterator> by_number_; ///< index: number - 1
    std::vector<uint16_t> free_;
    std::vector<uint16_t> unused_;  ///< no rule uses them, records may
    std::vector<uint16_t> cooling_; ///< ... but for records up to `cooled_at_` no more
    std::vector<uint64_t> cooled_at_;
};

} // namespace tapflow::engine
