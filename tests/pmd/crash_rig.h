// SPDX-License-Identifier: BSD-3-Clause
// testpmd with a port in one of its modes, and what must hold before, during and after trouble.
#pragma once

#include "pmd/plugin.h"
#include "pmd/port_mode.h"
#include "pmd/remote_rig.h"
#include "pmd/traces.h"
#include "support/bpf_ids.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

namespace tapflow::test {

/// testpmd with one port, its cable, and both sides of it. The port has everything on that leaves a mark on a remote.
class PortInTrouble : public testing::TestWithParam<PortMode> {
  protected:
    PortInTrouble();

    [[nodiscard]] std::string vdev() const { return "net_tap0," + GetParam().devargs(); }
    /// testpmd does not close a port by itself when that is removed: what it can still do is asked as well.
    [[nodiscard]] TestpmdOptions options(unsigned queues = 1) const {
        TestpmdOptions result = plugin_options(net.app, {vdev()}, queues);
        result.app_arguments.emplace_back("--no-rmv-interrupt");
        return result;
    }
    /// Starts testpmd; it sends back what it receives.
    void start(const TestpmdOptions &options);
    void start() { start(options()); }
    /// Opens the sockets at both sides again: one that saw its interface go down or away is no use any more.
    void connect();

    /// Frames to the port are answered by the application, each once, and the kernel gets none of them.
    void expect_traffic();
    /// testpmd quits in order, and nothing of it is left: see expect_nothing_left().
    void expect_quit();
    /// The tap is gone or, if persistent, bare; the remote is as it was; no BPF object of any process of ours lives.
    void expect_nothing_left();
    /// The same command line as at first works, and leaves nothing.
    void expect_restart();

    /// What testpmd answers to "port stop", "port close" and "device detach".
    void detach();
    /// Restarts the port with this many queues in each direction.
    std::string reconfigure(unsigned queues);

    /// Remembers the BPF objects that testpmd has now.
    void note_bpf_objects() { bpf.add_open_ones(testpmd->process().pid()); }

    Cabled net;
    std::string tap = "tap0";  ///< its name now
    std::string wire = "eth3"; ///< the remote's name now
    std::string wire_before;   ///< state_of() it without a port
    std::optional<Testpmd> testpmd;
    MacAddress own;                  ///< the port's
    std::optional<PacketSocket> far; ///< at the other end: the peer's interface, or the kernel's side of the tap
    std::optional<PacketSocket> kernel_side; ///< of a remote: what its kernel gets
    BpfIds bpf;

  private:
    MacAddress next_source();

    uint8_t sources_ = 0;
};

} // namespace tapflow::test
