// SPDX-License-Identifier: BSD-3-Clause
#include "engine/rewrite_lists.h"

#include <algorithm>
#include <cerrno>
#include <tuple>

namespace tapflow::engine {
namespace {

constexpr size_t kNumbers = 65535;
// So many numbers at once are worth asking the rings, which waits for packets under way.
constexpr size_t kWorthAsking = 1024;

} // namespace

bool RewriteLists::Less::operator()(const List &a, const List &b) const {
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), [](const auto &x, const auto &y) {
        return std::tie(x.kind, x.value, x.bytes) < std::tie(y.kind, y.value, y.bytes);
    });
}

RewriteLists::RewriteLists(RecordClock clock) : clock_(std::move(clock)) {}
RewriteLists::~RewriteLists() = default;

/// Frees what records have no more, and lets what rules have given up since then cool.
void RewriteLists::reclaim() {
    if (!cooling_.empty()) {
        if (!clock_.read_up_to(cooled_at_))
            return;
        for (const uint16_t number : cooling_) {
            const auto list = by_number_[number - 1U];
            Use &use = list->second;
            use.waiting = use.uses == 0 && use.used_since;
            if (use.waiting) {
                use.used_since = false;
                unused_.push_back(number);
            }
            if (use.uses > 0 || use.waiting)
                continue;
            table_[number].store(nullptr, std::memory_order_release);
            lists_.erase(list);
            by_number_[number - 1U] = lists_.end();
            free_.push_back(number);
        }
        cooling_.clear();
    }
    if (unused_.size() < kWorthAsking && by_number_.size() < kNumbers)
        return;
    auto written = clock_.written();
    if (!written)
        return;
    cooled_at_ = *std::move(written);
    std::swap(cooling_, unused_);
}

Result<uint16_t> RewriteLists::acquire(const List &list) {
    if (const auto same = lists_.find(list); same != lists_.end()) {
        same->second.uses++;
        return same->second.number;
    }
    // A second time for what begins to cool now and has cooled already.
    for (int i = 0; i < 2 && free_.empty() && (unused_.size() >= kWorthAsking || by_number_.size() == kNumbers); i++)
        reclaim();
    if (free_.empty()) {
        if (by_number_.size() == kNumbers)
            return Error{ENOSPC, "add header changes", "65,535 different ones are in use or in packets not yet read"};
        // What a number needs on its way through these lists is there before it is.
        for (auto *numbers : {&free_, &unused_, &cooling_})
            if (numbers->capacity() <= by_number_.size())
                numbers->reserve(std::max<size_t>(2 * by_number_.size(), 64));
        by_number_.push_back(lists_.end());
        free_.push_back(static_cast<uint16_t>(by_number_.size()));
    }
    const uint16_t number = free_.back();
    const auto added = lists_.emplace(list, Use{number, 1}).first;
    free_.pop_back();
    by_number_[number - 1U] = added;
    table_[number].store(&added->first, std::memory_order_release);
    return number;
}

bool RewriteLists::release(uint16_t number) {
    Use &use = by_number_[number - 1U]->second;
    if (--use.uses > 0)
        return false;
    use.used_since = use.waiting;
    if (!use.waiting)
        unused_.push_back(number);
    use.waiting = true;
    return true;
}

} // namespace tapflow::engine
