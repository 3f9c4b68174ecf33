// SPDX-License-Identifier: BSD-3-Clause
// An RSS configuration's tables in memory, for hashing on the host what the classifier could not deliver a hash with.
#pragma once

#include "packet/parse.h"
#include "rss/fields.h"
#include "rss/rss_config.h"
#include "rss/toeplitz.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <span>

namespace tapflow::rss {

/// Tables that are replaced while polling threads hash by them. Plain data: it may lie in memory that processes share.
///
/// One writer at a time. Readers neither wait nor hold up the writer: there are two sets of tables, and who has read
/// from one that has been replaced meanwhile reads again.
class PublishedTables {
  public:
    void publish(const RssConfig &config) {
        const uint32_t next = generation_.load(std::memory_order_relaxed) + 1;
        build_tables(config, slots_[next % 2]);
        generation_.store(next, std::memory_order_release);
    }

    /// Hashes a frame of which `packet` is tapflow_parse()'s result. Returns false if it is not hashed.
    bool hash(const tapflow_packet &packet, std::span<const uint8_t> frame, uint32_t &value) const {
        for (;;) {
            const uint32_t generation = generation_.load(std::memory_order_acquire);
            const tapflow_rss &tables = slots_[generation % 2];
            tapflow_packet fields = packet;
            if (tables.flags)
                tapflow_rss_fields(&tables, frame.data(), frame.data() + frame.size(), &fields);
            const bool hashed = tapflow_rss_hash(&tables, &fields, &value) != 0;
            std::atomic_thread_fence(std::memory_order_acquire);
            if (generation_.load(std::memory_order_relaxed) == generation)
                return hashed;
        }
    }

  private:
    std::atomic<uint32_t> generation_{0};
    std::array<tapflow_rss, 2> slots_{};
};

} // namespace tapflow::rss
