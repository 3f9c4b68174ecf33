// SPDX-License-Identifier: BSD-3-Clause
// A dpdk-testpmd session, command by command.
#pragma once

#include "support/eal.h"
#include "support/netns.h"
#include "support/process.h"
#include "support/testpmd_output.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tapflow::test {

struct TestpmdOptions {
    /// -d: the driver plugin; empty for none. EAL refuses it below a world-writable directory such as /tmp.
    std::string plugin{};
    std::vector<std::string> vdevs{}; ///< "net_tap0,iface=tap0", one --vdev each
    unsigned rxq = 1;
    unsigned txq = 1;
    unsigned rxd = 0; ///< 0: testpmd's own choice
    unsigned memory_mb = 256;
    unsigned mbufs = 8192;
    /// --lcores. Empty: one main and one forwarding lcore, both floating over all CPUs we may use, so that tests can
    /// run side by side.
    std::string lcores{};
    bool telemetry = false;
    std::string huge_directory{}; ///< a hugetlbfs, for other processes to join; empty: no hugepages
    std::vector<std::string> eal_arguments{};
    std::vector<std::string> app_arguments{};
    std::vector<std::string> environment{}; ///< "LD_PRELOAD=…", "ASAN_OPTIONS=…"
    std::vector<std::string> wrapper{};     ///< in front of it: "prlimit", "--nofile=100"
    const NetNs *netns = nullptr;           ///< null: the calling thread's
    std::string program = "dpdk-testpmd";
};

/// Runs without PCI, and unless told otherwise without telemetry and hugepages, in a runtime directory of its own that
/// is removed at the end. Output is read only inside the calls below: what comes in between waits (some ten thousand
/// lines fit). Everything that fails or takes too long throws std::runtime_error holding the end of the output.
class Testpmd {
  public:
    /// Starts testpmd and waits for its first prompt.
    explicit Testpmd(const TestpmdOptions &options);
    Testpmd(const Testpmd &) = delete;
    Testpmd &operator=(const Testpmd &) = delete;
    /// Kills it if it still runs.
    ~Testpmd() = default;

    /// What it said before the first prompt.
    [[nodiscard]] const std::string &banner() const { return banner_; }
    /// Types one line (of at most 510 characters: std::invalid_argument) and returns what was printed up to the next
    /// prompt, without the echo. While packets are being
    /// printed (`set verbose 1`) their lines may be among it; packets() finds them there as well.
    std::string command(const std::string &line, milliseconds timeout = kDefaultTimeout);

    /// Waits until testpmd has printed `count` received packets that no earlier call returned or cleared, and returns
    /// all there are: fewer if they do not come in time. Needs `set verbose 1`.
    std::vector<TestpmdPacket> packets(size_t count, milliseconds timeout = kDefaultTimeout);
    /// Forgets packets printed so far.
    void clear_packets();

    [[nodiscard]] TestpmdPortStats port_stats(unsigned port);
    [[nodiscard]] std::map<std::string, uint64_t> port_xstats(unsigned port);

    /// `quit`. Returns the exit status, 128 + signal if it crashed.
    int quit(milliseconds timeout = kDefaultTimeout);

    [[nodiscard]] Process &process() { return *process_; }
    [[nodiscard]] const RuntimeDirectory &runtime_directory() const { return runtime_directory_; }
    /// Everything read from it before quit(), without prompts and echo.
    [[nodiscard]] const std::string &log() const { return log_; }

  private:
    bool pump(Clock::time_point deadline);
    void wait_for_prompt(const std::string &during, milliseconds timeout);

    RuntimeDirectory runtime_directory_; ///< goes after the process
    std::optional<Process> process_;
    std::string terminal_;
    std::string log_;
    std::string banner_;
    TestpmdPacketParser parser_;
};

} // namespace tapflow::test
