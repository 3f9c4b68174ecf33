// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/ring.h"

#include <unistd.h>

namespace tapflow::kernel {
namespace {

size_t page_size() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

} // namespace

// kernel/bpf/ringbuf.c: the consumer's page first, writable; then the producer's page and the data twice over, so
// that a record which wraps around reads as one piece.
Result<Ring> Ring::create(size_t bytes) {
    auto map = create_ring_map("tapflow_ring", bytes);
    if (!map)
        return map.error();
    auto consumer = Mapping::create(map->get(), 0, page_size(), true, "ring's consumer page");
    if (!consumer)
        return consumer.error();
    auto producer = Mapping::create(map->get(), page_size(), page_size() + 2 * bytes, false, "ring's data");
    if (!producer)
        return producer.error();
    return Ring(*std::move(map), *std::move(consumer), *std::move(producer), bytes);
}

Ring::Ring(Fd map, Mapping consumer, Mapping producer, size_t bytes)
    : map_(std::move(map)), consumer_(std::move(consumer)), producer_(std::move(producer)), bytes_(bytes),
      view_(static_cast<RingConsumerPage *>(consumer_.data()),
            static_cast<const std::atomic<uint64_t> *>(producer_.data()),
            static_cast<const std::byte *>(producer_.data()) + page_size(), bytes - 1) {}

} // namespace tapflow::kernel
