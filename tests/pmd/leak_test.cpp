// SPDX-License-Identifier: BSD-3-Clause
// A port leaves nothing behind: neither at the interfaces that it used nor in the process that it lived in.
#include "kernel/bpf.h"
#include "pmd/traces.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace tapflow::test {
namespace {

namespace fs = std::filesystem;

const packet::Mac kSource = "02:00:00:00:04:01";
const packet::Mac kBroadcast = "ff:ff:ff:ff:ff:ff";
constexpr uint16_t kRedirectedType = 0x88b6; ///< IEEE 802 local experimental ethertype 2

/// A SCHED_CLS program that lets everything pass.
Fd load_passing_program() {
    const std::array<bpf_insn, 2> program{
        bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = -1},
        bpf_insn{.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
    bpf_attr attributes{};
    attributes.prog_type = BPF_PROG_TYPE_SCHED_CLS;
    attributes.insns = reinterpret_cast<uint64_t>(program.data());
    attributes.insn_cnt = program.size();
    attributes.license = reinterpret_cast<uint64_t>("Dual BSD/GPL");
    return owned(static_cast<int>(syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof(attributes))),
                 "load a BPF program");
}

/// What the owner of an interface has put there: a clsact qdisc with two filters, one of which redirects an ethertype
/// to another interface, and a TCX program where the kernel has TCX.
class UsersOwn {
  public:
    UsersOwn(const NetNs &netns, const std::string &interface, const std::string &redirect_to) {
        const auto tc = [&](const std::string &what) { netns.must_run({"sh", "-c", "tc " + what}); };
        tc("qdisc add dev " + interface + " clsact");
        tc("filter add dev " + interface + " ingress prio 300 protocol 0x88b6 u32 match u8 0 0" +
           " action mirred egress redirect dev " + redirect_to);
        for (const char *hook : {"ingress", "egress"})
            tc("filter add dev " + interface + " " + hook + " prio 301 protocol all bpf bytecode '1,6 0 0 0'");
        const NetNsGuard inside = netns.enter();
        program_ = load_passing_program();
        if (auto link =
                kernel::attach_tcx(netns.link(interface).index, kernel::Hook::Ingress, program_.get(), "attach"))
            tcx_ = *std::move(link);
        else if (link.error().code != EINVAL)
            throw std::runtime_error(link.error().message());
    }

  private:
    Fd program_;
    Fd tcx_;
};

/// A port with everything on that leaves a mark on a remote.
void use_port(Testpmd &testpmd) {
    for (const char *line :
         {"set promisc 0 on", "set allmulti 0 on", "mac_addr add 0 02:00:00:00:0a:dd",
          "mcast_addr add 0 01:00:5e:01:02:03", "mac_addr set 0 02:00:00:00:0a:aa", "port stop 0", "port start 0"})
        testpmd.command(line);
    start_forwarding(testpmd, "rxonly");
}

class Leaks : public testing::Test {
  protected:
    Leaks() {
        add_veth(net.app, "user0", net.app, "user1");
        users_own.emplace(net.app, "eth3", "user0");
        remote_before = state_of(net.app, "eth3");
    }

    void start(std::vector<std::string> vdevs) { testpmd.emplace(plugin_options(net.app, std::move(vdevs), 2)); }

    [[nodiscard]] std::string remote() const { return state_of(net.app, "eth3"); }

    Cabled net;
    std::optional<UsersOwn> users_own;
    std::string remote_before;
    std::optional<Testpmd> testpmd;
};

using RemoteIsLeftAsFound = Leaks;

TEST_F(RemoteIsLeftAsFound, ByQuit) {
    start({remote_vdev()});
    use_port(*testpmd);
    ASSERT_NE(remote(), remote_before);
    EXPECT_EQ(testpmd->quit(), 0);
    EXPECT_EQ(remote(), remote_before);
}

TEST_F(RemoteIsLeftAsFound, ByDetach) {
    start({remote_vdev()});
    use_port(*testpmd);
    for (const char *line : {"stop", "port stop 0", "port close 0", "device detach net_tap0"})
        testpmd->command(line);
    EXPECT_EQ(remote(), remote_before);
    EXPECT_FALSE(net.app.find_link("tap0"));
}

TEST_F(RemoteIsLeftAsFound, ByPortsThatCannotBeMade) {
    start({"net_tap9,iface=tap9"});
    net.app.must_run({"ip", "tuntap", "add", "dev", "single0", "mode", "tap"});
    const std::vector<std::string> impossible{
        "iface=user0,remote=eth3",                         // no tap
        "iface=single0,remote=eth3",                       // no multi-queue tap
        "iface=eth3,remote=eth3",                          // itself
        "iface=tap0,remote=eth3,unknown=1",                // no such key
        "iface=tap0,remote=eth3,mac=01:00:00:00:00:00",    // no unicast address
        "iface=tap0,remote=eth33",                         // no such interface
        "iface=tap9,remote=eth3",                          // a tap of another port
        "iface=a-name-that-is-too-long-for-it,remote=eth3" // no name
    };
    for (const std::string &devargs : impossible) {
        const std::string said = testpmd->command("port attach net_tap0," + devargs);
        EXPECT_EQ(said.find("is attached"), std::string::npos) << devargs << said;
        EXPECT_EQ(remote(), remote_before) << devargs;
        EXPECT_FALSE(net.app.find_link("tap0")) << devargs;
    }
    EXPECT_EQ(testpmd->quit(), 0);
}

TEST_F(RemoteIsLeftAsFound, BySettingsThatAreTakenBack) {
    start({remote_vdev()});
    testpmd->command("set promisc 0 off");
    const std::string plain = remote();
    for (const char *line :
         {"set promisc 0 on", "set promisc 0 on", "set allmulti 0 on", "mac_addr add 0 02:00:00:00:0a:dd",
          "mcast_addr add 0 01:00:5e:01:02:03", "port stop 0", "port start 0", "port stop 0", "port start 0"})
        testpmd->command(line);
    ASSERT_NE(remote(), plain);
    for (const char *line : {"mcast_addr remove 0 01:00:5e:01:02:03", "mac_addr remove 0 02:00:00:00:0a:dd",
                             "set allmulti 0 off", "set promisc 0 off"})
        testpmd->command(line);
    EXPECT_EQ(remote(), plain);
}

TEST_F(RemoteIsLeftAsFound, AndItsOwnersFilterWorksMeanwhile) {
    start({remote_vdev()});
    start_forwarding(*testpmd, "rxonly");
    PacketSocket redirected(net.app, "user1");
    PacketSocket peer(net.outside, "peer3", {.receive = false});
    const auto expect_redirected = [&](const MacAddress &destination) {
        const packet::Bytes frame =
            packet::Packet().ether(destination, kSource).next_type(kRedirectedType).pad_to(60).bytes();
        ASSERT_TRUE(peer.send(frame));
        const auto got = redirected.receive();
        ASSERT_TRUE(got);
        EXPECT_EQ(got->bytes, frame);
    };
    // The kernel gets a copy of a broadcast, and so its owner's filter gets one.
    expect_redirected(kBroadcast);
    EXPECT_EQ(testpmd->packets(1).size(), 1U);
    testpmd->command("stop");
    testpmd->command("port stop 0");
    expect_redirected(net.app.link("eth3").mac);
}

TEST(TapIsLeftAsFound, ByAPortThatBorrowedIt) {
    const NetNs netns;
    netns.must_run({"ip", "tuntap", "add", "dev", "tap0", "mode", "tap", "multi_queue", "vnet_hdr"});
    netns.must_run({"ip", "link", "set", "tap0", "mtu", "1400", "address", "02:00:00:00:0b:01", "up"});
    netns.must_run({"ip", "address", "add", "10.9.1.1/24", "dev", "tap0"});
    netns.must_run({"ip", "address", "add", "fd00::1/64", "dev", "tap0", "nodad"});
    add_veth(netns, "user0", netns, "user1");
    const UsersOwn users_own(netns, "tap0", "user0");
    const std::string before = state_of(netns, "tap0");
    {
        Testpmd testpmd(plugin_options(netns, {"net_tap0,iface=tap0"}, 4));
        start_forwarding(testpmd, "rxonly");
        testpmd.command("stop");
        EXPECT_EQ(testpmd.quit(), 0);
    }
    EXPECT_EQ(state_of(netns, "tap0"), before);
}

// ---- the process

struct Footprint {
    size_t descriptors;
    size_t threads;
    size_t mappings;
    size_t resident_kb;
};

Footprint footprint(pid_t pid) {
    const std::string maps = read_text(proc(pid, "maps"));
    const std::string status = read_text(proc(pid, "status"));
    const auto tasks = fs::directory_iterator(proc(pid, "task"));
    return {.descriptors = descriptors(pid).size(),
            .threads = static_cast<size_t>(std::distance(begin(tasks), end(tasks))),
            .mappings = static_cast<size_t>(std::count(maps.begin(), maps.end(), '\n')),
            .resident_kb = std::stoul(status.substr(status.find("VmRSS:") + 6))};
}

TEST_F(Leaks, ThirtyRoundsOfAttachAndDetachCostTheProcessNothing) {
    start({remote_vdev()});
    const auto detach = [&] {
        for (const char *line : {"port stop 0", "port close 0", "device detach net_tap0"})
            testpmd->command(line);
    };
    const auto round = [&] {
        ASSERT_NE(testpmd->command("port attach " + remote_vdev()).find("Port 0 is attached"), std::string::npos);
        testpmd->command("port start 0");
        detach();
    };
    const pid_t pid = testpmd->process().pid();
    detach();
    for (unsigned i = 0; i < 5; ++i) // what is allocated once
        round();
    const Footprint before = footprint(pid);
    for (unsigned i = 0; i < 25; ++i)
        round();
    const Footprint after = footprint(pid);
    EXPECT_EQ(after.descriptors, before.descriptors);
    EXPECT_EQ(after.threads, before.threads);
    std::printf("[ MEASURED ] 25 rounds: %zu to %zu KiB resident, %zu to %zu mappings\n", before.resident_kb,
                after.resident_kb, before.mappings, after.mappings);
    if (plugin_environment().empty()) {                 // AddressSanitizer keeps what was freed
        EXPECT_LE(after.mappings, before.mappings + 2); // malloc's own come and go
        EXPECT_LE(after.resident_kb, before.resident_kb + 2048);
    }
    EXPECT_EQ(remote(), remote_before);
    EXPECT_FALSE(net.app.find_link("tap0"));
    EXPECT_EQ(testpmd->quit(), 0);
}

/// The sockets in a file below /proc/PID/net, as /proc/PID/fd names them.
std::set<std::string> sockets(const fs::path &path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    size_t column = 0;
    {
        std::istringstream names(line);
        for (std::string name; names >> name && name != "Inode";)
            ++column;
    }
    std::set<std::string> found;
    while (std::getline(file, line)) {
        std::istringstream words(line);
        std::string word;
        for (size_t i = 0; i <= column; ++i)
            words >> word;
        found.insert("socket:[" + word + "]");
    }
    return found;
}

TEST_F(Leaks, NoDescriptorOfOursIsInheritedByPrograms) {
    start({remote_vdev()});
    start_forwarding(*testpmd, "rxonly");
    const pid_t pid = testpmd->process().pid();
    const std::set<std::string> netlink = sockets(proc(pid, "net/netlink"));
    const std::set<std::string> packet = sockets(proc(pid, "net/packet"));
    std::map<std::string, unsigned> kinds;
    for (const auto &[number, target] : descriptors(pid)) {
        std::string kind;
        if (target == "/dev/net/tun")
            kind = "tun";
        else if (target.find("bpf") != std::string::npos)
            kind = "bpf";
        else if (netlink.contains(target))
            kind = "netlink";
        else if (packet.contains(target))
            kind = "packet";
        else
            continue;
        ++kinds[kind];
        const std::string info = read_text(proc(pid, "fdinfo") / std::to_string(number));
        const unsigned long flags = std::stoul(info.substr(info.find("flags:") + 6), nullptr, 8);
        EXPECT_NE(flags & 02000000, 0U) << kind << " descriptor " << number << " " << target; // O_CLOEXEC
    }
    EXPECT_EQ(kinds["tun"], 2U);
    EXPECT_GE(kinds["bpf"], 10U);
    EXPECT_GE(kinds["netlink"], 1U);
    EXPECT_EQ(kinds["packet"], 1U);
}

} // namespace
} // namespace tapflow::test
