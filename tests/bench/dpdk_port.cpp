// SPDX-License-Identifier: BSD-3-Clause
#include "bench/dpdk_port.h"

#include "bench/measure.h"
#include "support/system.h"

#include <rte_bus_vdev.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <semaphore>
#include <stdexcept>
#include <vector>

namespace tapflow::bench {
namespace {

constexpr unsigned kMbufs = 8191;
constexpr unsigned kMbufCache = 512;
constexpr unsigned kPollingLcore = 1;
constexpr uint64_t kRssTypes = RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP;

void check(int status, const char *what) {
    if (status < 0)
        throw std::runtime_error(std::string(what) + ": " + std::strerror(-status));
}

void start_eal(const PortOptions &options, const std::string &directory) {
    setenv("RUNTIME_DIRECTORY", directory.c_str(), 1);
    const std::string cpu = std::to_string(kReaderCpu);
    // Where testpmd has -l 0,1 the main lcore shares the reader's CPU here: what it does is not the sender's cost.
    std::vector<std::string> arguments{"bench",
                                       "--no-huge",
                                       "-m",
                                       "128",
                                       "--no-pci",
                                       "--no-shconf",
                                       "--no-telemetry",
                                       "--log-level=lib.eal:error",
                                       "--log-level=pmd:error",
                                       "--lcores",
                                       "0@" + cpu + ",1@" + cpu,
                                       "--vdev",
                                       "net_tap0," + options.devargs};
    if (!options.plugin.empty())
        arguments.insert(arguments.end(), {"-d", options.plugin});
    std::vector<char *> argv;
    for (std::string &argument : arguments)
        argv.push_back(argument.data());
    if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0)
        throw std::runtime_error("rte_eal_init");
}

} // namespace

RuntimeDirectory::RuntimeDirectory() : path_(std::filesystem::temp_directory_path() / "tapflow-bench-XXXXXX") {
    if (!mkdtemp(path_.data()))
        test::throw_errno("create a runtime directory");
}

RuntimeDirectory::~RuntimeDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

DpdkPort::DpdkPort(const PortOptions &options) {
    start_eal(options, directory_.path());
    if (rte_eth_dev_count_avail() != 1)
        throw std::runtime_error("no port net_tap0");
    id_ = rte_eth_find_next(0);
    rte_eth_dev_info info{};
    check(rte_eth_dev_info_get(id_, &info), "rte_eth_dev_info_get");
    pool_ = rte_pktmbuf_pool_create("bench", kMbufs, kMbufCache, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    if (!pool_)
        throw std::runtime_error("rte_pktmbuf_pool_create");

    rte_eth_conf conf{};
    if (options.rss) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        if (options.hash)
            conf.rxmode.offloads = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_RSS_HASH;
        conf.rx_adv_conf.rss_conf.rss_hf = kRssTypes & info.flow_type_rss_offloads;
    }
    conf.txmode.offloads = options.tx_offloads;
    check(rte_eth_dev_configure(id_, options.rx_queues, 1, &conf), "rte_eth_dev_configure");
    for (uint16_t queue = 0; queue < options.rx_queues; queue++)
        check(rte_eth_rx_queue_setup(id_, queue, 512, SOCKET_ID_ANY, nullptr, pool_), "rte_eth_rx_queue_setup");
    rte_eth_txconf tx = info.default_txconf;
    tx.offloads = options.tx_offloads;
    check(rte_eth_tx_queue_setup(id_, 0, 512, SOCKET_ID_ANY, &tx), "rte_eth_tx_queue_setup");
    check(rte_eth_dev_start(id_), "rte_eth_dev_start");
}

DpdkPort::~DpdkPort() {
    rte_eth_dev_stop(id_);
    rte_eth_dev_close(id_);
    rte_eal_cleanup();
}

MacAddress DpdkPort::mac() const {
    rte_ether_addr address{};
    check(rte_eth_macaddr_get(id_, &address), "rte_eth_macaddr_get");
    MacAddress mac;
    std::memcpy(mac.bytes.data(), address.addr_bytes, mac.bytes.size());
    return mac;
}

void DpdkPort::run(const std::function<void()> &body) {
    struct Job {
        const std::function<void()> &body;
        std::exception_ptr exception{};
        std::binary_semaphore finished{0};
    } job{body};
    auto entry = [](void *argument) {
        auto &mine = *static_cast<Job *>(argument);
        try {
            mine.body();
        } catch (...) {
            mine.exception = std::current_exception();
        }
        mine.finished.release();
        return 0;
    };
    check(rte_eal_remote_launch(entry, &job, kPollingLcore), "rte_eal_remote_launch");
    job.finished.acquire(); // rte_eal_wait_lcore() would spin, on the CPU of the one it waits for
    rte_eal_wait_lcore(kPollingLcore);
    if (job.exception)
        std::rethrow_exception(job.exception);
}

} // namespace tapflow::bench
