// SPDX-License-Identifier: BSD-3-Clause
// What tapflowctl doctor says, against what a port then really does. On any kernel.
#include "engine/doctor.h"
#include "engine/port.h"
#include "flow/text.h"
#include "kernel/pass_program.h"
#include "support/must.h"
#include "support/netns.h"
#include "support/process.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <linux/capability.h>
#include <sched.h>
#include <strings.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <thread>

namespace tapflow::test {
namespace {

using Json = nlohmann::json;
using Status = engine::Finding::Status;

struct Diagnosis {
    int status = 0;
    std::map<std::string, Json> findings; ///< by name

    [[nodiscard]] std::string status_of(const std::string &name) const {
        const auto found = findings.find(name);
        return found == findings.end() ? "not there" : found->second.at("status").get<std::string>();
    }
    [[nodiscard]] bool has(const char *wanted) const {
        return std::ranges::any_of(findings, [&](const auto &each) { return each.second.at("status") == wanted; });
    }
};

class Doctor : public testing::Test {
  protected:
    /// Runs it in the test's namespace, with a command in front: "setpriv", "--bounding-set=-all" ...
    Diagnosis diagnose(const std::vector<std::string> &arguments = {}, std::vector<std::string> wrapper = {}) {
        wrapper.insert(wrapper.end(), {TAPFLOWCTL, "doctor", "--json"});
        wrapper.insert(wrapper.end(), arguments.begin(), arguments.end());
        // LeakSanitizer cannot look into a process that has changed its user, and complains in the midst of the JSON.
        const CommandResult result =
            run_command(wrapper, {.environment = {"ASAN_OPTIONS=detect_leaks=0"}, .netns = ns.fd()});
        Diagnosis diagnosis{result.status, {}};
        const Json document = Json::parse(result.output, nullptr, false);
        if (document.is_discarded())
            throw std::runtime_error("no JSON: " + result.output);
        EXPECT_EQ(document.at("verb"), "doctor");
        for (const Json &finding : document.at("findings")) {
            const bool good = finding.at("status") == "ok";
            EXPECT_FALSE(finding.at("what").get<std::string>().empty()) << finding;
            EXPECT_EQ(finding.contains("cost"), !good) << finding;
            EXPECT_TRUE(diagnosis.findings.emplace(finding.at("name"), finding).second) << "twice: " << finding;
        }
        EXPECT_EQ(result.status, diagnosis.has("missing") ? 1 : 0) << result.output;
        return diagnosis;
    }

    Result<std::unique_ptr<engine::Port>> open(const engine::PortOptions &options) const {
        const NetNsGuard inside = ns.enter();
        return engine::Port::open(options);
    }
    [[nodiscard]] bool opens(const engine::PortOptions &options) const {
        const auto port = open(options);
        if (!port)
            std::cout << port.error().message() << std::endl;
        return static_cast<bool>(port);
    }
    /// An interface with a peer.
    void add_remote() {
        ns.must_run({"ip", "link", "add", "eth3", "up", "type", "veth", "peer", "name", "peer3"});
        ns.must_run({"ip", "link", "set", "peer3", "up"});
    }

    NetNs ns;
};

engine::PortOptions tap(engine::RxMode rx) {
    engine::PortOptions options;
    options.iface = "tap0";
    options.rx = rx;
    return options;
}

TEST_F(Doctor, AgreesWithWhatPortsDo) {
    const Diagnosis diagnosis = diagnose();
    EXPECT_EQ(diagnosis.status_of("rx=ring") == "ok", opens(tap(engine::RxMode::Ring)));
    EXPECT_EQ(diagnosis.status_of("rx=fd") == "ok", opens(tap(engine::RxMode::Fd)));
    // What a ring needs and rx=ring has is there.
    for (const char *part : {"BPF rings", "kernel context", "BTF"})
        EXPECT_TRUE(diagnosis.status_of(part) == "ok" || diagnosis.status_of("rx=ring") == "degraded") << part;
    engine::PortOptions flower = tap(engine::RxMode::Auto);
    flower.classifier = engine::RuleClassifier::Flower;
    bool works = false;
    if (const auto port = open(flower))
        works =
            !(*port)->flows().check(must(flow::parse_rule("ingress pattern eth / end actions queue index 0 / end")));
    EXPECT_EQ(diagnosis.status_of("cls_flower") == "ok" && diagnosis.status_of("act_skbedit") == "ok", works);
    EXPECT_EQ(diagnosis.status, 0) << "root on a kernel that ports work on";
}

TEST_F(Doctor, SaysHowWhatIsNotThereIsMended) {
    const Diagnosis diagnosis = diagnose();
    for (const auto &[name, module] :
         {std::pair{"cls_flower", "CONFIG_NET_CLS_FLOWER"}, std::pair{"act_skbedit", "CONFIG_NET_ACT_SKBEDIT"}}) {
        const Json &finding = diagnosis.findings.at(name);
        if (finding.at("status") == "ok")
            continue;
        EXPECT_EQ(finding.at("status"), "degraded");
        EXPECT_EQ(finding.at("cost"), "classifier=flower cannot be used");
        EXPECT_EQ(finding.at("mend"), std::string("modprobe ") + name + " or a kernel with " + module);
    }
}

TEST_F(Doctor, FindsThePluginBesideIt) {
    const Diagnosis diagnosis = diagnose();
    const Json &plugin = diagnosis.findings.at("DPDK plugin");
    EXPECT_EQ(plugin.at("status"), "ok") << plugin;
}

TEST_F(Doctor, WithoutPrivilegesItNamesTheCapabilitiesThatAreMissing) {
    for (const std::vector<std::string> &wrapper :
         {std::vector<std::string>{"setpriv", "--bounding-set=-all", "--inh-caps=-all"},
          std::vector<std::string>{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}}) {
        const Diagnosis diagnosis = diagnose({}, wrapper);
        EXPECT_EQ(diagnosis.status, 1);
        for (const char *name : {"CAP_NET_ADMIN", "CAP_BPF", "CAP_PERFMON"}) {
            EXPECT_EQ(diagnosis.status_of(name), "missing");
            EXPECT_NE(diagnosis.findings.at(name).at("mend").get<std::string>().find(name), std::string::npos);
        }
        EXPECT_EQ(diagnosis.status_of("CAP_SYS_ADMIN"), "degraded");
        EXPECT_EQ(diagnosis.status_of("interfaces"), "degraded");
        EXPECT_EQ(diagnosis.status_of("rx=fd"), "missing");
        EXPECT_EQ(diagnosis.status_of("tap"), "not there");
    }
}

/// Takes capabilities from the calling thread.
void drop(const std::vector<unsigned> &capabilities) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
    if (syscall(SYS_capget, &header, data.data()) < 0)
        throw_errno("look up capabilities");
    for (const unsigned capability : capabilities)
        data.at(capability / 32).effective &= ~(1U << capability % 32);
    if (syscall(SYS_capset, &header, data.data()) < 0)
        throw_errno("drop capabilities");
}

TEST_F(Doctor, AgreesWithPortsOfAProcessWithFewerCapabilities) {
    struct Dropped {
        std::string names;
        std::vector<unsigned> capabilities;
        std::string status; ///< of the first
    };
    for (const Dropped &dropped :
         {Dropped{"perfmon,-sys_admin", {CAP_PERFMON, CAP_SYS_ADMIN}, "missing"},
          Dropped{"bpf,-sys_admin", {CAP_BPF, CAP_SYS_ADMIN}, "missing"},
          Dropped{"net_admin", {CAP_NET_ADMIN}, "missing"}, Dropped{"sys_admin", {CAP_SYS_ADMIN}, "degraded"}}) {
        SCOPED_TRACE(dropped.names);
        const Diagnosis diagnosis =
            diagnose({}, {"setpriv", "--bounding-set=-" + dropped.names, "--inh-caps=-" + dropped.names});
        bool ring = false;
        bool fd = false;
        std::jthread([&] {
            // For good: this thread ends there.
            if (setns(ns.fd(), CLONE_NEWNET) < 0)
                throw_errno("enter the test's namespace");
            drop(dropped.capabilities);
            ring = static_cast<bool>(engine::Port::open(tap(engine::RxMode::Ring)));
            fd = static_cast<bool>(engine::Port::open(tap(engine::RxMode::Fd)));
        }).join();
        EXPECT_EQ(diagnosis.status == 0, fd);
        EXPECT_EQ(diagnosis.status_of("rx=ring") == "ok" && diagnosis.status == 0, ring);
        const std::string name = "CAP_" + dropped.names.substr(0, dropped.names.find(','));
        EXPECT_EQ(std::ranges::count_if(diagnosis.findings,
                                        [&](const auto &each) {
                                            return strcasecmp(each.first.c_str(), name.c_str()) == 0 &&
                                                   each.second.at("status") == dropped.status;
                                        }),
                  1);
    }
}

TEST_F(Doctor, CountsTheDescriptorsThatAreLeft) {
    EXPECT_EQ(diagnose().status_of("descriptors"), "ok");
    const Diagnosis some = diagnose({}, {"prlimit", "--nofile=150"});
    EXPECT_EQ(some.status_of("descriptors"), "degraded");
    EXPECT_EQ(some.status, 0);
    const Diagnosis few = diagnose({}, {"prlimit", "--nofile=20"});
    EXPECT_EQ(few.status_of("descriptors"), "missing");
    EXPECT_EQ(few.status, 1);
}

size_t open_descriptors() {
    const std::filesystem::directory_iterator descriptors("/proc/self/fd");
    return static_cast<size_t>(std::distance(begin(descriptors), end(descriptors)));
}

/// The numbers by which it says how many queues there is room for.
TEST_F(Doctor, APortHasNoMoreOpenThanItCountsOn) {
    for (const unsigned queues : {1U, 64U}) {
        add_remote();
        const size_t before = open_descriptors();
        engine::PortOptions options = tap(engine::RxMode::Auto);
        options.remote = "eth3";
        auto port = must(open(options));
        must(port->set_queues(queues, queues));
        std::vector<engine::QueueInterrupt> interrupts;
        const NetNsGuard inside = ns.enter();
        for (unsigned queue = 0; queue < queues; queue++) {
            must(port->delivery() == kernel::Delivery::Ring ? port->set_ring(queue, 1U << 17U)
                                                            : port->set_reader(queue, 512));
            interrupts.push_back(must(port->make_interrupt(queue)));
        }
        const rss::RssConfig config{{rss::default_key().begin(), rss::default_key().end()},
                                    rss::kAllTypes,
                                    rss::round_robin_reta(queues),
                                    rss::Function::Toeplitz};
        must(port->start(config, true));
        const flow::Rule rule =
            must(flow::parse_rule("ingress pattern eth / ipv4 / end actions count / queue index 0 / end"));
        EXPECT_NE(port->flows().create(rule).flow, nullptr);
        std::cout << queues << " queues: " << open_descriptors() - before << " descriptors" << std::endl;
        EXPECT_LE(open_descriptors() - before, 64 + 4 * (queues - 1));
        interrupts.clear();
        port.reset();
        ns.must_run({"ip", "link", "delete", "eth3"});
    }
}

// ---- remotes

TEST_F(Doctor, LooksAtARemote) {
    add_remote();
    const Diagnosis diagnosis = diagnose({"--remote", "eth3"});
    for (const char *name : {"remote", "remote link", "remote MTU", "remote master", "remote XDP", "remote LRO",
                             "remote TCX", "remote filters"})
        EXPECT_EQ(diagnosis.status_of(name), "ok") << name;
    engine::PortOptions options = tap(engine::RxMode::Auto);
    options.remote = "eth3";
    EXPECT_TRUE(opens(options));
}

TEST_F(Doctor, NamesWhatIsNoRemote) {
    for (const char *name : {"lo", "nothing", "a-name-that-is-far-too-long-for-an-interface", "", "eth3/..", "%d"}) {
        const Diagnosis diagnosis = diagnose({"--remote", name});
        engine::PortOptions options = tap(engine::RxMode::Auto);
        options.remote = name;
        if (*name == 0)
            continue; // no remote is meant
        EXPECT_EQ(diagnosis.status_of("remote"), "missing") << name;
        EXPECT_FALSE(opens(options)) << name;
    }
}

TEST_F(Doctor, SaysWhatIsTheMatterWithARemote) {
    add_remote();
    ns.must_run({"ip", "link", "add", "br0", "type", "bridge"});
    ns.must_run({"ip", "link", "set", "eth3", "master", "br0", "mtu", "9500"});
    ns.must_run({"ip", "link", "set", "peer3", "down"});
    Diagnosis diagnosis = diagnose({"--remote", "eth3"});
    for (const char *name : {"remote link", "remote MTU", "remote master"})
        EXPECT_EQ(diagnosis.status_of(name), "degraded") << name;
    EXPECT_EQ(diagnosis.findings.at("remote master").at("what"), "belongs to br0 (bridge)");
    EXPECT_EQ(diagnosis.findings.at("remote link").at("what"), "eth3 has no carrier");
    ns.must_run({"ip", "link", "set", "eth3", "down"});
    diagnosis = diagnose({"--remote", "eth3"});
    EXPECT_EQ(diagnosis.findings.at("remote link").at("what"), "eth3 is down");
    EXPECT_EQ(diagnosis.status, 0);
}

/// What the library says of eth3; the whole program takes its time.
std::string status_at_remote(const NetNs &ns, const std::string &name) {
    const NetNsGuard inside = ns.enter();
    const auto findings = engine::examine_remote("eth3");
    const auto found = std::ranges::find(findings, name, &engine::Finding::name);
    if (found == findings.end())
        return "not there";
    return found->status == Status::Ok ? "ok" : found->status == Status::Missing ? "missing" : "degraded";
}

/// A filter that somebody else has there, and what it takes from a port.
TEST_F(Doctor, AgreesWithPortsBesideSomebodysFilter) {
    add_remote();
    auto netlink = [&] {
        const NetNsGuard inside = ns.enter();
        return must(kernel::Netlink::open());
    }();
    const kernel::LinkInfo link = must(kernel::get_link(*netlink, "eth3"));
    (void)must(kernel::ensure_clsact(*netlink, link));
    const Fd program = pass_program(BPF_PROG_TYPE_SCHED_CLS);
    const bool flower = diagnose().status_of("cls_flower") == "ok";
    for (const uint16_t preference : {uint16_t{100}, uint16_t{200}, uint16_t{300}, uint16_t{4352}, uint16_t{5000}}) {
        SCOPED_TRACE(preference);
        const kernel::BpfFilter filter{{.ifindex = link.index, .preference = preference}, "somebodys"};
        must(kernel::add_filter(*netlink, filter, program.get()));
        const std::string said = status_at_remote(ns, "remote filters");
        engine::PortOptions options = tap(engine::RxMode::Auto);
        options.remote = "eth3";
        EXPECT_EQ(said != "missing", opens(options));
        options.classifier = engine::RuleClassifier::Flower;
        const bool conflict = preference == 200 || preference == 4352;
        EXPECT_EQ(said == "ok", preference == 100 || preference == 5000) << said;
        if (flower) {
            EXPECT_EQ(opens(options), !conflict);
        }
        must(kernel::remove_filter(*netlink, filter));
    }
}

TEST_F(Doctor, SeesAnotherPortAtTheRemote) {
    add_remote();
    engine::PortOptions options = tap(engine::RxMode::Auto);
    options.remote = "eth3";
    const auto port = must(open(options));
    const Diagnosis diagnosis = diagnose({"--remote", "eth3"});
    EXPECT_TRUE(diagnosis.status_of("remote TCX") == "degraded" || diagnosis.status_of("remote filters") == "degraded");
    EXPECT_EQ(diagnosis.status, 0);
}

// ---- leaving nothing

/// What can be seen of interfaces and filters.
std::vector<std::string> inventory(const NetNs &ns) {
    std::vector<std::string> found{ns.ip_json({"link", "show"})};
    found.push_back(ns.must_run({"tc", "qdisc", "show"}));
    for (const char *hook : {"ingress", "egress"})
        found.push_back(ns.must_run({"tc", "filter", "show", "dev", "eth3", hook}));
    return found;
}

TEST_F(Doctor, LeavesNothingBehind) {
    add_remote();
    const auto before = inventory(ns);
    (void)diagnose({"--remote", "eth3"});
    EXPECT_EQ(inventory(ns), before);
    // In this process, where its descriptors can be counted.
    const NetNsGuard inside = ns.enter();
    const size_t descriptors = open_descriptors();
    const auto here = std::filesystem::read_symlink("/proc/thread-self/ns/net");
    for (int i = 0; i < 3; i++) {
        EXPECT_FALSE(engine::examine_machine({}).empty());
        EXPECT_FALSE(engine::examine_remote("eth3").empty());
    }
    EXPECT_EQ(open_descriptors(), descriptors);
    EXPECT_EQ(std::filesystem::read_symlink("/proc/thread-self/ns/net"), here);
    EXPECT_EQ(inventory(ns), before);
}

TEST_F(Doctor, PlainTextFitsIntoATerminal) {
    add_remote();
    const CommandResult result = run_command({TAPFLOWCTL, "doctor", "--remote", "eth3"}, {.netns = ns.fd()});
    EXPECT_EQ(result.status, 0) << result.output;
    size_t begin = 0;
    while (begin < result.output.size()) {
        const size_t end = result.output.find('\n', begin);
        const std::string line = result.output.substr(begin, end - begin);
        EXPECT_TRUE(line.size() <= 80 || line.find('/') != std::string::npos) << line;
        EXPECT_EQ(line.find('\x1b'), std::string::npos);
        begin = end + 1;
    }
    EXPECT_NE(result.output.find("remote filters"), std::string::npos);
}

TEST_F(Doctor, WrongArgumentsAreOneLine) {
    for (const std::vector<std::string> &wrong : {std::vector<std::string>{"--remote"}, {"--nonsense"}, {"eth3"}}) {
        std::vector<std::string> line{TAPFLOWCTL, "doctor"};
        line.insert(line.end(), wrong.begin(), wrong.end());
        const CommandResult result = run_command(line, {.netns = ns.fd()});
        EXPECT_EQ(result.status, 2);
        EXPECT_TRUE(result.output.starts_with("tapflowctl: ")) << result.output;
        EXPECT_EQ(std::ranges::count(result.output, '\n'), 1) << result.output;
    }
}

} // namespace
} // namespace tapflow::test
