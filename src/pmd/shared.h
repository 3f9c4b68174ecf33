// SPDX-License-Identifier: BSD-3-Clause
// A port's state: what all processes share, and what belongs to one.
#pragma once

#include "engine/port.h"
#include "engine/queue_interrupt.h"
#include "flow/rewrite.h"
#include "kernel/ring.h"
#include "pmd/compat.h"
#include "pmd/log.h"
#include "pmd/rx_fd.h"
#include "rss/rss_config.h"

#include <rte_mempool.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

namespace tapflow::pmd {

constexpr uint16_t kMaxQueues = TAPFLOW_QUEUES_MAX;
constexpr uint16_t kMaxMacAddresses = 64;

/// Written by one polling lcore, read by anyone: a plain add would do but for the readers' torn values.
struct Counter {
    std::atomic<uint64_t> value{0};

    void add(uint64_t n) { value.store(value.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
    [[nodiscard]] uint64_t get() const { return value.load(std::memory_order_relaxed); }
    void reset() { value.store(0, std::memory_order_relaxed); }
};

/// The same count for who looks at the port from outside, which no reset of statistics touches.
inline void count_traffic(tapflow_queue_traffic &traffic, uint64_t packets, uint64_t bytes) {
    const std::atomic_ref<__u64> all_packets(traffic.packets);
    const std::atomic_ref<__u64> all_bytes(traffic.bytes);
    all_packets.store(all_packets.load(std::memory_order_relaxed) + packets, std::memory_order_relaxed);
    all_bytes.store(all_bytes.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
}

/// An Rx queue as ethdev hands it to the burst function.
struct alignas(RTE_CACHE_LINE_SIZE) RxQueue {
    uint16_t port = 0;
    uint16_t id = 0;
    uint16_t room = 0;     ///< bytes that fit into one mbuf of the pool
    uint16_t segments = 0; ///< of the super-frame at the ring's head, those that are delivered already
    rte_mempool *pool = nullptr;
    uint64_t own_offloads = 0; ///< RTE_ETH_RX_OFFLOAD_* asked for at queue setup
    uint64_t offloads = 0;     ///< these and the port's, as of its start
    uint16_t descriptors = 0;
    bool deferred = false;          ///< does not start with the port
    std::atomic<bool> strip{false}; ///< RTE_ETH_RX_OFFLOAD_VLAN_STRIP, which may change while the queue is polled

    Counter packets;
    Counter bytes;
    Counter no_mbuf;   ///< polls that found no mbuf; the packet waits in its ring
    Counter oversize;  ///< packets dropped: longer than an mbuf, without scattered Rx
    Counter malformed; ///< dropped: super-frames whose headers do not add up, packets that cannot be rewritten
};

struct alignas(RTE_CACHE_LINE_SIZE) TxQueue {
    uint16_t port = 0;
    uint16_t id = 0;
    uint16_t descriptors = 0;
    bool deferred = false; ///< does not start with the port
    std::atomic<bool> stopped{false};
    uint64_t offloads = 0; ///< RTE_ETH_TX_OFFLOAD_*

    Counter packets;
    Counter bytes;
    Counter oversize;  ///< dropped: longer than the MTU allows
    Counter malformed; ///< dropped: offload flags and lengths that do not fit the packet, or refused by the kernel
    Counter link_down; ///< dropped: the interface is down
};

/// dev_private: plain data in memory that ethdev allocates, shares between processes and frees.
struct Shared {
    struct Rss {
        uint64_t types = 0; ///< with modifiers
        std::array<uint16_t, TAPFLOW_RETA_MAX> reta{};
        uint16_t queues = 0; ///< that the RETA was made for
        std::array<uint8_t, rss::kLongKeySize> key{};
        uint8_t key_size = 0;
        rss::Function function = rss::Function::Toeplitz;
    };

    std::array<RxQueue, kMaxQueues> rx;
    std::array<TxQueue, kMaxQueues> tx;
    Rss rss;
    /// Delivery by fd: in memory that ethdev's processes share; null otherwise.
    rss::PublishedTables *tables = nullptr;
    /// Values of the classifier's and the kernel's counters at the last statistics reset.
    tapflow_port_counters port_base{};
    std::array<tapflow_queue_counters, kMaxQueues> queue_base{};
    uint64_t queue_drops_base = 0;
    // What the port was made with.
    uint16_t reta_size = rss::kDefaultRetaSize;
    uint8_t offered_key_size = rss::kKeySize;
    rss::Function default_function = rss::Function::Toeplitz;
};

constexpr size_t kRewriteScratch = TAPFLOW_FRAME_MAX + flow::kRewriteGrowthMax;

/// What an Rx queue that is read from a ring needs in this process.
struct RingPath {
    kernel::RingView ring;
    tapflow_queue_traffic *traffic = nullptr;
    const engine::FlowRules *rules = nullptr; ///< for the packets whose headers they change
    std::unique_ptr<uint8_t[]> scratch;       ///< kRewriteScratch bytes for such a packet
};

/// What a Tx queue needs in this process.
struct TxPath {
    int fd = -1;
    tapflow_queue_traffic *traffic = nullptr;
    std::unique_ptr<uint8_t[]> scratch; ///< kScratchSize bytes for headers that differ from the mbuf's
    uint8_t link_header = 0;            ///< bytes of it at least: Ethernet's, or none on a tun device
};

class LinkListener;

/// process_private: file descriptors and C++ objects.
struct ProcessPrivate {
    std::unique_ptr<engine::Port> port;
    LinkListener *listener = nullptr;    ///< see listen_to_links()
    std::array<RingPath, kMaxQueues> rx; ///< delivery by ring
    std::array<FdPath, kMaxQueues> fd;   ///< delivery by fd
    std::array<TxPath, kMaxQueues> tx;
    std::array<std::optional<engine::QueueInterrupt>, kMaxQueues> interrupts; ///< where the application asks for them
};

inline Shared &shared(const rte_eth_dev *dev) { return *static_cast<Shared *>(dev->data->dev_private); }
inline ProcessPrivate &process(const rte_eth_dev *dev) { return *static_cast<ProcessPrivate *>(dev->process_private); }
inline bool by_ring(const rte_eth_dev *dev) { return process(dev).port->delivery() == kernel::Delivery::Ring; }
inline engine::Port &port(const rte_eth_dev *dev) { return *process(dev).port; }
/// Its packets begin with the IP header.
inline bool is_tun(const rte_eth_dev *dev) { return port(dev).layer() == kernel::Layer::Ip; }
inline const char *name(const rte_eth_dev *dev) { return dev->data->name; }

/// What an ethdev operation returns: 0, or -errno of an error, which is logged.
inline int status(const rte_eth_dev *dev, const Result<void> &result) {
    return result ? 0 : log_error(name(dev), result.error());
}

/// The configuration in shared memory as the engine takes it.
inline rss::RssConfig rss_config(const Shared &state) {
    const Shared::Rss &rss = state.rss;
    return {{rss.key.begin(), rss.key.begin() + rss.key_size},
            rss.types,
            {rss.reta.begin(), rss.reta.begin() + state.reta_size},
            rss.function};
}

} // namespace tapflow::pmd
