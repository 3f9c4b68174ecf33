// SPDX-License-Identifier: BSD-3-Clause
// Network namespaces for tests. They have no name: the kernel destroys one, with everything in it, when the last
// descriptor and process is gone, so not even a killed test leaves anything behind.
#pragma once

#include "support/process.h"
#include "support/system.h"
#include "support/wait.h"
#include "tapflow/mac_address.h"

#include <net/if.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tapflow::test {

/// One interface as RTM_GETLINK shows it.
struct Link {
    int index = 0;
    std::string name;
    unsigned flags = 0; ///< IFF_*
    unsigned mtu = 0;
    MacAddress mac;
    unsigned promiscuity = 0; ///< how many users asked for it; IFF_PROMISC shows only those by flag
    uint8_t operstate = 0;    ///< IF_OPER_*
    bool carrier = false;
    unsigned tx_queues = 0;
    unsigned rx_queues = 0;
    unsigned tx_queue_length = 0;
    int master = 0; ///< ifindex of the bridge or bond, 0 if none
    uint64_t rx_packets = 0;
    uint64_t tx_packets = 0;
    uint64_t rx_bytes = 0;
    uint64_t tx_bytes = 0;
    uint64_t rx_dropped = 0;
    uint64_t tx_dropped = 0;

    [[nodiscard]] bool up() const { return (flags & IFF_UP) != 0; }
    [[nodiscard]] bool running() const { return (flags & IFF_RUNNING) != 0; }
};

/// The calling thread is in another namespace while this lives, and comes back after. Guards nest.
class NetNsGuard {
  public:
    explicit NetNsGuard(int netns);
    NetNsGuard(const NetNsGuard &) = delete;
    NetNsGuard &operator=(const NetNsGuard &) = delete;
    ~NetNsGuard();

  private:
    Fd before_;
};

/// A new, quiet network namespace: `lo` is up, and interfaces that come up in it get no link-local address, so the
/// kernel sends nothing (no router solicitation, no MLD report) that a test did not ask for. Needs CAP_SYS_ADMIN.
/// System call failures throw std::system_error.
class NetNs {
  public:
    NetNs();

    [[nodiscard]] int fd() const { return fd_.get(); }
    /// A path that ip(8) takes for a namespace ("ip link set eth0 netns PATH") and nsenter(1) as `--net=PATH`.
    [[nodiscard]] std::string path() const;
    [[nodiscard]] NetNsGuard enter() const { return NetNsGuard(fd_.get()); }

    /// Runs a command inside; arguments reach it as they are, there is no shell.
    CommandResult run(std::vector<std::string> argv, milliseconds timeout = kDefaultTimeout) const;
    /// The same for commands that must succeed: their output, or std::runtime_error holding it.
    std::string must_run(std::vector<std::string> argv, milliseconds timeout = kDefaultTimeout) const;
    /// `ip -j -d ARGS`: JSON text.
    [[nodiscard]] std::string ip_json(std::vector<std::string> arguments) const;

    /// The interface's state now; std::runtime_error if there is none of that name.
    [[nodiscard]] Link link(const std::string &name) const;
    [[nodiscard]] std::optional<Link> find_link(const std::string &name) const;
    /// Waits on link events until `predicate` holds. Returns whether it came to hold.
    [[nodiscard]] bool wait_link(const std::string &name, const std::function<bool(const Link &)> &predicate,
                                 milliseconds timeout = kDefaultTimeout) const;
    /// Waits until the interface is gone.
    [[nodiscard]] bool wait_link_gone(const std::string &name, milliseconds timeout = kDefaultTimeout) const;
    /// Waits for operstate up; std::runtime_error on time-out.
    void wait_operstate_up(const std::string &name, milliseconds timeout = kDefaultTimeout) const;

    /// A file below /proc/sys in this namespace, by path: "net/ipv6/conf/all/forwarding".
    void set_sysctl(const std::string &path, std::string_view value) const;
    [[nodiscard]] std::string sysctl(const std::string &path) const;

  private:
    bool wait_links(const std::function<bool()> &condition, milliseconds timeout) const;

    Fd fd_;
};

/// A veth pair with one end in each namespace, both up and seen up by the kernel.
void add_veth(const NetNs &ns_a, const std::string &name_a, const NetNs &ns_b, const std::string &name_b);

} // namespace tapflow::test
