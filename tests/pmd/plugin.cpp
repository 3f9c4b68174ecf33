// SPDX-License-Identifier: BSD-3-Clause
#include "pmd/plugin.h"

#include "support/expected_record.h"

#include <cstdlib>
#include <filesystem>
#include <stdexcept>

namespace tapflow::test {
namespace {

/// The numbers behind every `key` of a text, added up.
size_t sum_behind(const std::string &text, const std::string &key) {
    size_t sum = 0;
    bool found = false;
    for (size_t at = text.find(key); at != std::string::npos; at = text.find(key, at + 1)) {
        sum += std::stoul(text.substr(at + key.size()));
        found = true;
    }
    if (!found)
        throw std::runtime_error("no " + key + " in " + text);
    return sum;
}

} // namespace

std::string plugin_path() { return TAPFLOW_PLUGIN; }

std::string in_tree_plugin_path() {
    for (const auto &directory : std::filesystem::directory_iterator(TAPFLOW_DPDK_PLUGINS)) {
        const auto path = directory.path() / "librte_net_tap.so";
        if (std::filesystem::exists(path))
            return path;
    }
    throw std::runtime_error("no librte_net_tap.so below " TAPFLOW_DPDK_PLUGINS);
}

std::string tested_rx_mode() {
    const char *mode = std::getenv("TAPFLOW_TEST_RX");
    return mode == nullptr ? "ring" : mode;
}

std::string tested_classifier() {
    const char *classifier = std::getenv("TAPFLOW_TEST_CLASSIFIER");
    return classifier == nullptr ? "bpf" : classifier;
}

std::string tested_modes() {
    return ",rx=" + tested_rx_mode() + (tested_classifier() == "bpf" ? "" : ",classifier=" + tested_classifier());
}

std::string with_tested_modes(const std::string &vdev) {
    const bool is_tun = vdev.starts_with("net_tun");
    const bool ours = vdev.starts_with("net_tap") || is_tun || vdev.starts_with("eth_tap");
    if (!ours || vdev.find(",rx=") != std::string::npos)
        return vdev;
    return vdev + (is_tun ? ",rx=" + tested_rx_mode() : tested_modes());
}

std::vector<std::string> plugin_environment() {
    const std::string runtimes = TAPFLOW_SANITIZER_PRELOAD;
    if (runtimes.empty())
        return {};
    return {"LD_PRELOAD=" + runtimes, "ASAN_OPTIONS=detect_leaks=0"};
}

TestpmdOptions plugin_options(const NetNs &netns, const std::vector<std::string> &vdevs, unsigned queues) {
    TestpmdOptions options;
    options.plugin = plugin_path();
    for (const std::string &vdev : vdevs)
        options.vdevs.push_back(with_tested_modes(vdev));
    // A ring's record has the hash anyway, a frame from an fd only if it is asked for (RTE_ETH_RX_OFFLOAD_RSS_HASH).
    options.app_arguments.emplace_back("--rx-offloads=0x80000");
    options.rxq = queues;
    options.txq = queues;
    options.environment = plugin_environment();
    options.netns = &netns;
    return options;
}

void preload(TestpmdOptions &options, const std::string &library) {
    for (std::string &variable : options.environment) {
        if (variable.starts_with("LD_PRELOAD=")) {
            variable += ":" + library;
            return;
        }
    }
    options.environment.push_back("LD_PRELOAD=" + library);
}

Cabled::Cabled(unsigned cables, unsigned mtu) {
    for (unsigned i = 0; i < cables; ++i) {
        const std::string inner = "eth" + std::to_string(3 + i);
        const std::string outer = "peer" + std::to_string(3 + i);
        add_veth(app, inner, outside, outer);
        if (mtu == 1500)
            continue;
        app.must_run({"ip", "link", "set", inner, "mtu", std::to_string(mtu)});
        outside.must_run({"ip", "link", "set", outer, "mtu", std::to_string(mtu)});
    }
}

std::string remote_vdev(unsigned index) {
    const std::string number = std::to_string(index);
    return "net_tap" + number + ",iface=tap" + number + ",remote=eth" + std::to_string(3 + index);
}

Forwarder::Forwarder(std::vector<std::string> app_arguments, unsigned mtu)
    : cabled(2, mtu), testpmd([&] {
          TestpmdOptions options = plugin_options(cabled.app, {remote_vdev(0), remote_vdev(1)});
          options.app_arguments = std::move(app_arguments);
          return options;
      }()),
      in_mac(cabled.app.link("eth3").mac), out_mac(cabled.app.link("eth4").mac),
      in(cabled.outside, "peer3", {.receive = false, .vnet_hdr = true}), out(cabled.outside, "peer4") {}

void Forwarder::configure_out(const std::vector<std::string> &commands) {
    testpmd.command("port stop 1");
    for (const std::string &command : commands)
        testpmd.command(command);
    testpmd.command("port start 1");
}

std::vector<packet::Bytes> Forwarder::receive(size_t count) {
    std::vector<packet::Bytes> frames;
    for (const ReceivedFrame &frame : out.receive_many(count))
        frames.push_back(frame.on_wire());
    return frames;
}

void start_forwarding(Testpmd &testpmd, const std::string &mode, bool verbose) {
    if (verbose)
        testpmd.command("set verbose 1");
    testpmd.command("set fwd " + mode);
    testpmd.command("start");
}

std::vector<std::string> plugin_lines(const std::string &output) {
    std::vector<std::string> lines;
    for (size_t at = output.find("tapflow: "); at != std::string::npos; at = output.find("tapflow: ", at + 1))
        lines.push_back(output.substr(at, output.find('\n', at) - at));
    return lines;
}

size_t free_mbufs(Testpmd &testpmd) {
    const std::string dump = testpmd.command("dump_mempool mb_pool_0");
    return sum_behind(dump, "total_cache_count=") + sum_behind(dump, "common_pool_count=");
}

Steering expected_steering(const rss::RssConfig &config, const packet::Bytes &frame) {
    const Classified classified = classify(*tables_of(config), frame);
    Steering steering{std::nullopt, classified.queue};
    if (classified.hashed)
        steering.hash = classified.hash;
    return steering;
}

} // namespace tapflow::test
