// SPDX-License-Identifier: BSD-3-Clause
// A second DPDK process beside the one that has the port. (DPDK's own net_tap lets it in, and it crashes when it
// receives.)
#include "pmd/plugin.h"
#include "support/hugepages.h"

#include <gtest/gtest.h>

#include <optional>

namespace tapflow::test {
namespace {

TEST(SecondaryProcess, IsRefusedWithOneLineAndLeavesThePortAlone) {
    std::optional<Hugepages> hugepages;
    try {
        hugepages.emplace(96);
    } catch (const std::runtime_error &error) {
        GTEST_SKIP() << "machine lacks hugepages: " << error.what();
    }
    const NetNs netns;
    TestpmdOptions options = plugin_options(netns, {"net_tap0,iface=tap0"});
    options.huge_directory = hugepages->directory();
    // Both processes have the memory at one address: here neither the kernel nor a sanitizer puts anything.
    options.eal_arguments = {"--base-virtaddr=0x200000000000"};
    options.memory_mb = 128;
    options.mbufs = 4096;
    Testpmd testpmd(options);
    start_forwarding(testpmd, "rxonly");

    const auto &runtime = testpmd.runtime_directory();
    ProcessOptions environment{.environment = plugin_environment(), .netns = netns.fd()};
    environment.environment.push_back(runtime.environment());
    const CommandResult second =
        run_command({"dpdk-proc-info", "--huge-dir", options.huge_directory, "--no-pci", "--file-prefix",
                     runtime.file_prefix(), "-d", options.plugin, "--", "--stats"},
                    environment);
    EXPECT_EQ(second.status, 1) << second.output;
    const auto lines = plugin_lines(second.output);
    ASSERT_EQ(lines.size(), 1U) << second.output;
    EXPECT_NE(lines[0].find("only the primary process can use this port"), std::string::npos) << lines[0];

    PacketSocket sender(netns, "tap0", {.receive = false});
    ASSERT_TRUE(sender.send(packet::Packet().ether(netns.link("tap0").mac).payload(100).bytes()));
    EXPECT_EQ(testpmd.packets(1).size(), 1U);
    EXPECT_EQ(testpmd.quit(), 0);
}

} // namespace
} // namespace tapflow::test
