// SPDX-License-Identifier: BSD-3-Clause
// A process may make and close ports all its life.
#include "pmd/events_rig.h"
#include "support/effort.h"

#include <rte_malloc.h>

#include <fstream>

namespace tapflow::test {
namespace {

struct Memory {
    size_t pages = 0; ///< resident
    size_t heap = 0;  ///< bytes of rte_malloc that are in use

    static Memory now() {
        Memory memory;
        std::ifstream statm("/proc/self/statm");
        size_t total = 0;
        statm >> total >> memory.pages;
        rte_malloc_socket_stats stats{};
        EXPECT_EQ(rte_malloc_get_socket_stats(0, &stats), 0);
        memory.heap = stats.heap_allocsz_bytes;
        return memory;
    }
};

class AttachCycles : public LinkEvents, public testing::WithParamInterface<const char *> {};
INSTANTIATE_TEST_SUITE_P(Mode, AttachCycles, testing::Values("Local", "Remote"),
                         [](const auto &instance) { return std::string(instance.param); });

TEST_P(AttachCycles, LeaveNothing) {
    const bool remote = std::string(GetParam()) == "Remote";
    const unsigned cycles = effort(40); // TAPFLOW_TEST_EFFORT=2500 makes it a thousand
    const unsigned warm = std::min(50U, cycles / 2);
    open_local();
    add_veth(ns(), "eth4", outside, "peer4");
    const std::string arguments =
        std::string("iface=tap1,rx=") + tested_rx_mode() + (remote ? ",remote=eth4,readopt=1" : "");
    Memory early;
    size_t fds = 0;
    const auto start = Clock::now();
    for (unsigned cycle = 0; cycle < cycles; ++cycle) {
        if (cycle == warm) {
            early = Memory::now();
            fds = open_fds();
        }
        uint16_t second = 0;
        ASSERT_NO_FATAL_FAILURE(start_second(arguments, second)) << cycle;
        ASSERT_EQ(rte_eth_dev_stop(second), 0);
        rte_eth_dev_info info{};
        ASSERT_EQ(rte_eth_dev_info_get(second, &info), 0);
        if (cycle % 2 == 0) {
            ASSERT_EQ(rte_eth_dev_close(second), 0);
            ASSERT_EQ(rte_vdev_uninit("net_tap1"), 0);
        } else {
            ASSERT_EQ(rte_dev_remove(info.device), 0);
        }
        ASSERT_FALSE(ns().find_link("tap1")) << cycle;
        if (cycle >= warm) {
            ASSERT_EQ(open_fds(), fds) << cycle;
        }
    }
    const Memory late = Memory::now();
    const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - start);
    std::printf(
        "[ MEASURED ] %u cycles in %.1f s; between cycle %u and the end: resident %+lld pages, rte_malloc %+lld "
        "bytes\n",
        cycles, static_cast<double>(took.count()) / 1000, warm,
        static_cast<long long>(late.pages) - static_cast<long long>(early.pages),
        static_cast<long long>(late.heap) - static_cast<long long>(early.heap));
    EXPECT_EQ(late.heap, early.heap);
    constexpr size_t kAllowed = 256; // 1 MiB: the C library's heap, and a sanitizer's, take a while to settle
    EXPECT_LE(late.pages, early.pages + kAllowed);
    const std::string left = ns().must_run({"tc", "qdisc", "show", "dev", "eth4"});
    EXPECT_EQ(left.find("clsact"), std::string::npos) << left;
    EXPECT_EQ(ns().link("eth4").promiscuity, 0U);
    EXPECT_TRUE(tcx_programs(ns(), "eth4").value_or(std::vector<uint32_t>()).empty());
    configure_for(kNone);
}

} // namespace
} // namespace tapflow::test
