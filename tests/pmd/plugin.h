// SPDX-License-Identifier: BSD-3-Clause
// The plugin under test, and what the tests of it share.
#pragma once

#include "packet/build.h"
#include "rss/rss_config.h"
#include "support/netns.h"
#include "support/packet_socket.h"
#include "support/testpmd.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tapflow::test {

/// librte_net_tapflow.so as built.
std::string plugin_path();
/// The net_tap that came with DPDK, which ours replaces.
std::string in_tree_plugin_path();
/// What a program needs to load the plugin: nothing, or the runtime of the sanitizers that it was built with. Leaks
/// are not looked for: DPDK's programs leave things behind when they exit.
std::vector<std::string> plugin_environment();

/// How the ports of this run deliver their packets, "ring" or "fd": CTest runs every test once for each
/// (TAPFLOW_TEST_RX).
std::string tested_rx_mode();
/// The classifier of this run, "bpf" unless TAPFLOW_TEST_CLASSIFIER says otherwise.
std::string tested_classifier();
/// ",rx=ring,classifier=flower"
std::string tested_modes();
/// A device's arguments with these, unless they say how packets are delivered.
std::string with_tested_modes(const std::string &vdev);

/// testpmd in `netns` with the plugin and these devices ("net_tap0,iface=tap0"), `queues` Rx and Tx queues each.
TestpmdOptions plugin_options(const NetNs &netns, const std::vector<std::string> &vdevs, unsigned queues = 1);

/// Loads a library before all others, but for the runtime of the sanitizers.
void preload(TestpmdOptions &options, const std::string &library);

/// An application's namespace with the interfaces eth3, eth4 … and one outside, where their peers are: peer3, peer4 …
struct Cabled {
    explicit Cabled(unsigned cables = 1, unsigned mtu = 1500);

    NetNs app;
    NetNs outside;
};
/// "net_tap0,iface=tap0,remote=eth3" for index 0, "net_tap1,iface=tap1,remote=eth4" for 1 …
std::string remote_vdev(unsigned index = 0);

/// testpmd with two remote ports, 0 on eth3 and 1 on eth4: what `in` sends comes out at `out`. Not forwarding yet.
struct Forwarder {
    /// `mtu` is that of the cables; testpmd gives its ports 1500 unless told by --max-pkt-len (22 bytes more).
    explicit Forwarder(std::vector<std::string> app_arguments = {}, unsigned mtu = 1500);

    /// Changes port 1's configuration: the commands run while it is stopped.
    void configure_out(const std::vector<std::string> &commands);
    /// Waits for one frame after the other, with its VLAN tag in its place.
    [[nodiscard]] std::vector<packet::Bytes> receive(size_t count);

    Cabled cabled;
    Testpmd testpmd;
    packet::Mac in_mac;  ///< port 0's
    packet::Mac out_mac; ///< port 1's
    PacketSocket in;     ///< takes offload requests
    PacketSocket out;
};

/// Where a port's packets come from: the kernel behind the tap, or the wire behind the remote.
enum class Mode : uint8_t { Local, Remote };

/// Sets the forwarding mode and starts forwarding. `verbose`: received packets are printed, for Testpmd::packets().
void start_forwarding(Testpmd &testpmd, const std::string &mode, bool verbose = true);

/// The lines of an output that the plugin has written, whole or cut off.
std::vector<std::string> plugin_lines(const std::string &output);

/// mbufs of the first pool that nobody holds.
size_t free_mbufs(Testpmd &testpmd);

/// Where the classifier puts a packet.
struct Steering {
    std::optional<uint32_t> hash; ///< none: the packet is not hashed
    unsigned queue = 0;

    bool operator==(const Steering &) const = default;
};
/// By the host's build of the parser and of the tables that the classifier uses.
Steering expected_steering(const rss::RssConfig &config, const packet::Bytes &frame);

} // namespace tapflow::test
