// SPDX-License-Identifier: BSD-3-Clause
#include "ctl/ctl_fixture.h"

#include <fcntl.h>
#include <regex.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace tapflow::test {
namespace {

std::string contents(const std::string &path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

} // namespace

Said run_apart(std::vector<std::string> argv) {
    const Fd err = owned(memfd_create("stderr", MFD_CLOEXEC), "memfd_create");
    const std::string path = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(err.get());
    argv.insert(argv.begin(), {"/bin/sh", "-c", "exec \"$@\" 2>" + path, "sh"});
    const CommandResult result = run_command(std::move(argv));
    return {result.status, result.output, contents(path)};
}

Said tapflowctl(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), TAPFLOWCTL);
    return run_apart(std::move(arguments));
}

Said tapflowctl_unprivileged(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"setpriv", "--reuid=nobody", "--clear-groups", TAPFLOWCTL});
    return run_apart(std::move(arguments));
}

void expect_refused(const Said &said, int status) {
    EXPECT_EQ(said.status, status);
    EXPECT_EQ(said.out, "");
    EXPECT_TRUE(said.err.starts_with("tapflowctl: ")) << said.err;
    EXPECT_EQ(said.err.find('\n'), said.err.size() - 1) << said.err;
    EXPECT_LT(said.err.size(), 1500U);
    for (const char each : said.err)
        EXPECT_TRUE(each == '\n' || static_cast<unsigned char>(each) >= 0x20) << "control character in: " << said.err;
}

nlohmann::ordered_json valid_json(const Said &said, const std::string &verb) {
    EXPECT_EQ(said.err, "");
    Process validate({TAPFLOW_CTL_TESTS "/validate", TAPFLOW_SCHEMA, verb});
    validate.write(said.out);
    validate.close_stdin();
    EXPECT_EQ(validate.wait(), 0) << validate.output() << said.out;
    return nlohmann::ordered_json::parse(said.out);
}

std::string replaced(std::string text, const Replacements &replacements) {
    for (const auto &[expression, by] : replacements) {
        regex_t compiled;
        if (regcomp(&compiled, expression.c_str(), REG_EXTENDED | REG_NEWLINE) != 0)
            throw std::invalid_argument("bad regular expression: " + expression);
        const std::unique_ptr<regex_t, decltype(&regfree)> owner(&compiled, regfree);
        std::string result;
        size_t at = 0;
        for (regmatch_t match{}; at < text.size() && regexec(&compiled, text.c_str() + at, 1, &match, 0) == 0;) {
            result += text.substr(at, static_cast<size_t>(match.rm_so)) + by;
            at += static_cast<size_t>(match.rm_eo);
        }
        text = result + text.substr(at);
    }
    return text;
}

void blank(nlohmann::ordered_json &json, const std::vector<std::string> &names) {
    if (!json.is_structured())
        return;
    for (const auto &[name, member] : json.items())
        if (json.is_object() && std::find(names.begin(), names.end(), name) != names.end() && !member.is_structured())
            member = nullptr;
        else
            blank(member, names);
}

void expect_golden(const std::string &name, const std::string &text) {
    const std::string path = std::string(TAPFLOW_CTL_TESTS "/golden/") + name;
    if (std::getenv("TAPFLOW_UPDATE_GOLDEN") != nullptr)
        std::ofstream(path) << text;
    EXPECT_EQ(text, contents(path)) << "not as " << path;
}

engine::PortOptions CtlTest::named(const std::string &tap) {
    engine::PortOptions options;
    options.iface = tap;
    options.device = "net_tap0";
    options.mac = MacAddress{{2, 0, 0, 0, 0, 1}};
    return options;
}

void start(engine::Port &port, unsigned queues) {
    must(port.set_queues(queues, 1));
    for (unsigned queue = 0; queue < queues; queue++)
        must(port.delivery() == kernel::Delivery::Ring ? port.set_ring(queue, 1U << 16U) : port.set_reader(queue, 64));
    must(port.start(rss_config(rss::kIpv4 | rss::kIpv4Udp, rss::round_robin_reta(queues)), true));
}

void CtlTest::open(const engine::PortOptions &options, unsigned queues) {
    port = must(engine::Port::open(options));
    start(*port, queues);
}

const engine::Flow *CtlTest::create(const std::string &rule) {
    const auto created = port->flows().create(must(flow::parse_rule(rule)));
    if (created.flow == nullptr)
        throw std::runtime_error(rule + ": " + created.refusal.error.message());
    return created.flow;
}

void CtlTest::send_udp(uint16_t destination, unsigned count) {
    PacketSocket socket(ns, "tap0");
    const packet::Bytes frame = packet::Packet()
                                    .ether(port->mac(), MacAddress{{2, 0, 0, 0, 0, 2}})
                                    .ipv4("10.0.0.1", "10.0.0.2")
                                    .udp(1000, destination)
                                    .pad_to(60)
                                    .bytes();
    for (unsigned i = 0; i < count; i++)
        ASSERT_TRUE(socket.send(frame));
}

} // namespace tapflow::test
