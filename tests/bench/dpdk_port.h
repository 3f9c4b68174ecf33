// SPDX-License-Identifier: BSD-3-Clause
// A DPDK port driven as testpmd does: the main lcore sleeps, another one polls.
#pragma once

#include "tapflow/mac_address.h"

#include <cstdint>
#include <functional>
#include <string>

struct rte_mempool;
struct rte_mbuf;

namespace tapflow::bench {

struct PortOptions {
    std::string plugin{};  ///< -d; empty: whatever DPDK has itself for net_tap
    std::string devargs{}; ///< "iface=tap0"
    uint16_t rx_queues = 1;
    bool hash = true; ///< with rss: ask for the hash, too
    bool rss = false; ///< hash by addresses and ports, with the hash in the mbuf
    uint64_t tx_offloads = 0;
};

/// EAL's runtime directory, removed with its owner.
class RuntimeDirectory {
  public:
    RuntimeDirectory();
    RuntimeDirectory(const RuntimeDirectory &) = delete;
    RuntimeDirectory &operator=(const RuntimeDirectory &) = delete;
    ~RuntimeDirectory();

    [[nodiscard]] const std::string &path() const { return path_; }

  private:
    std::string path_;
};

/// EAL with one net_tap port, started. Once per process. Failures throw std::runtime_error.
class DpdkPort {
  public:
    explicit DpdkPort(const PortOptions &options);
    DpdkPort(const DpdkPort &) = delete;
    DpdkPort &operator=(const DpdkPort &) = delete;
    ~DpdkPort();

    [[nodiscard]] uint16_t id() const { return id_; }
    [[nodiscard]] MacAddress mac() const;
    [[nodiscard]] rte_mempool *pool() const { return pool_; }

    /// Runs `body` on the lcore that is pinned to kReaderCpu, while this thread sleeps; rethrows what it throws.
    void run(const std::function<void()> &body);

  private:
    RuntimeDirectory directory_;
    uint16_t id_ = 0;
    rte_mempool *pool_ = nullptr;
};

} // namespace tapflow::bench
