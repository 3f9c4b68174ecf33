// SPDX-License-Identifier: BSD-3-Clause
// A process that has no descriptors, no locked memory or no BPF memory left: what fails says so in one line and leaves
// nothing, what was there works on, and everything works once there is some again. Of mbufs: ethdev_mode_test.cpp.
#include "pmd/crash_rig.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <functional>

namespace tapflow::test {
namespace {

class Exhaustion : public PortInTrouble {
  protected:
    /// testpmd without the port, but with another one: what is loaded or found out once is.
    void start_without_port(TestpmdOptions options) {
        options.vdevs = {"net_null0", vdev()};
        testpmd.emplace(options);
        for (const char *line : {"port stop 1", "port close 1", "device detach net_tap0"})
            testpmd->command(line);
        if (GetParam().persist)
            net.app.must_run({"ip", "link", "del", "tap0"});
    }

    /// Makes the port with less and less missing until it can be made. `next` sets what there is; the first argument
    /// of a message says how much that was.
    unsigned attach_until_it_works(const std::function<std::string()> &next) {
        const pid_t pid = testpmd->process().pid();
        const auto open_before = descriptors(pid);
        const std::string wire_with_nothing = state_of(net.app, "eth3");
        for (unsigned failures = 0;; ++failures) {
            const std::string had = next();
            const std::string said = testpmd->command("port attach " + vdev());
            if (said.find("is attached") != std::string::npos)
                return failures;
            // EAL closes a port that was made when it has no descriptor for telling secondary processes.
            const bool was_made = said.find("rte_mp_request_sync failed") != std::string::npos;
            EXPECT_EQ(plugin_lines(said).size(), was_made ? 0U : 1U) << had << said;
            if (was_made && GetParam().persist)
                net.app.must_run({"ip", "link", "del", "tap0"});
            EXPECT_EQ(descriptors(pid), open_before) << had << said;
            EXPECT_EQ(state_of(net.app, "eth3"), wire_with_nothing) << had << said;
            EXPECT_FALSE(net.app.find_link("tap0")) << had << said;
            if (failures > 200 || HasFailure()) {
                ADD_FAILURE() << "still fails: " << had;
                return failures;
            }
        }
    }
};

INSTANTIATE_TEST_SUITE_P(Modes, Exhaustion, testing::ValuesIn(port_modes_that_differ_most()),
                         testing::PrintToStringParamName());

// ---- file descriptors

TEST_P(Exhaustion, OfDescriptorsAtAnyStepOfProbingLeavesNothing) {
    start_without_port(options());
    const auto open = descriptors(testpmd->process().pid());
    {
        SoftLimit limit(testpmd->process().pid(), RLIMIT_NOFILE);
        rlim_t next = 0;
        const unsigned failures = attach_until_it_works([&] {
            while (open.contains(static_cast<int>(next))) // the same are free below it as below the next
                ++next;
            limit.set(next);
            return "descriptors below " + std::to_string(next++);
        });
        EXPECT_GT(failures, 15U);
    }
    expect_quit();
}

TEST_P(Exhaustion, OfDescriptorsOfARunningPortIsOvercome) {
    start();
    expect_traffic();
    testpmd->command("stop");
    const pid_t pid = testpmd->process().pid();
    {
        SoftLimit limit(pid, RLIMIT_NOFILE);
        const auto open = descriptors(pid);
        limit.set(static_cast<rlim_t>(open.rbegin()->first) + 1);
        for (int i = 0; i < 2; ++i) {
            const std::string said = reconfigure(16);
            EXPECT_EQ(plugin_lines(said).size(), 1U) << said;
            EXPECT_NE(said.find("Too many open files"), std::string::npos) << said;
            EXPECT_EQ(descriptors(pid), open) << said; // not even the queues that could be opened
        }
    }
    const std::string said = reconfigure(16);
    EXPECT_TRUE(plugin_lines(said).empty()) << said;
    testpmd->command("start");
    expect_traffic();
    expect_quit();
}

// ---- locked memory

/// BPF memory was charged to RLIMIT_MEMLOCK before Linux 5.11. Nothing that a port has is now.
TEST_P(Exhaustion, OfLockedMemoryDoesNotMatter) {
    TestpmdOptions limited = options(4);
    limited.rxd = 4096; // 8 MiB of ring for each queue
    limited.wrapper = {"setpriv", "--bounding-set=-ipc_lock", "prlimit", "--memlock=0"};
    start(limited);
    const std::string limits = read_text(proc(testpmd->process().pid(), "limits"));
    EXPECT_NE(limits.find("Max locked memory         0"), std::string::npos) << limits;
    expect_traffic();
    expect_quit();
}

// ---- BPF memory

/// How many more BPF objects a process may make: see bpf_exhausted.cpp.
class BpfCredit {
  public:
    explicit BpfCredit(TestpmdOptions &options) : file_(owned(memfd_create("bpf-credit", 0), "make a memory file")) {
        if (ftruncate(file_.get(), sizeof(int64_t)) != 0)
            throw_errno("set the size of a memory file");
        void *page = mmap(nullptr, sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
        if (page == MAP_FAILED)
            throw_errno("map a memory file");
        credit_ = static_cast<int64_t *>(page);
        set(kUnlimited);
        preload(options, TAPFLOW_BPF_EXHAUSTED);
        options.environment.push_back("TAPFLOW_BPF_CREDIT=/proc/" + std::to_string(getpid()) + "/fd/" +
                                      std::to_string(file_.get()));
    }
    BpfCredit(const BpfCredit &) = delete;
    BpfCredit &operator=(const BpfCredit &) = delete;
    ~BpfCredit() { munmap(credit_, sizeof(int64_t)); }

    static constexpr int64_t kUnlimited = -1;
    void set(int64_t objects) { std::atomic_ref(*credit_).store(objects); }

  private:
    Fd file_;
    int64_t *credit_ = nullptr;
};

TEST_P(Exhaustion, OfBpfMemoryAtAnyStepOfProbingLeavesNothing) {
    TestpmdOptions preloaded = options();
    BpfCredit credit(preloaded);
    start_without_port(preloaded);
    int64_t next = 0;
    const unsigned failures = attach_until_it_works([&] {
        credit.set(next);
        return "BPF objects: " + std::to_string(next++);
    });
    EXPECT_GT(failures, 10U);
    credit.set(BpfCredit::kUnlimited);
    expect_quit();
}

TEST_P(Exhaustion, OfBpfMemoryOfARunningPortIsOvercome) {
    TestpmdOptions preloaded = options(2);
    BpfCredit credit(preloaded);
    start(preloaded);
    credit.set(0);
    for (const char *line : {"port config all rss udp", "mac_addr add 0 02:00:00:00:0a:de"}) {
        const std::string said = testpmd->command(line);
        EXPECT_EQ(plugin_lines(said).size(), 1U) << line << said;
        EXPECT_NE(said.find("Cannot allocate memory"), std::string::npos) << line << said;
    }
    expect_traffic(); // as it was

    testpmd->command("stop");
    const bool rings = tested_rx_mode() == "ring";               // the tap's queues are none of BPF's
    for (int64_t objects = 0; rings && objects < 4; ++objects) { // three rings, and where they are to be put
        credit.set(objects);
        const std::string said = reconfigure(3);
        EXPECT_EQ(plugin_lines(said).size(), 1U) << said;
    }
    credit.set(BpfCredit::kUnlimited);
    const std::string said = reconfigure(3);
    EXPECT_TRUE(plugin_lines(said).empty()) << said;
    testpmd->command("start");
    expect_traffic();
    expect_quit();
}

} // namespace
} // namespace tapflow::test
