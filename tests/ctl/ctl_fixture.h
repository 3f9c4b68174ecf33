// SPDX-License-Identifier: BSD-3-Clause
// tapflowctl as a child process, and a port for it to look at.
#pragma once

#include "flow/text.h"
#include "kernel/port_fixture.h"
#include "support/process.h"

#include <nlohmann/json.hpp>

#include <string>
#include <utility>
#include <vector>

namespace tapflow::test {

/// What a program has said and how it has ended.
struct Said {
    int status = 0;
    std::string out;
    std::string err;
};

/// Runs a command in the calling thread's network namespace, with stdout and stderr apart.
Said run_apart(std::vector<std::string> argv);
Said tapflowctl(std::vector<std::string> arguments);
/// As user "nobody", without any capability.
Said tapflowctl_unprivileged(std::vector<std::string> arguments);

/// It has not been done, and one line says why.
void expect_refused(const Said &said, int status = 2);
/// JSON of which the schema says that it is that verb's.
nlohmann::ordered_json valid_json(const Said &said, const std::string &verb);

/// All matches of POSIX extended regular expressions, one expression after the other. "\1" is not known: what stays is
/// outside of the match.
using Replacements = std::vector<std::pair<std::string, std::string>>;
std::string replaced(std::string text, const Replacements &replacements);
/// The values of all members of these names, wherever they are.
void blank(nlohmann::ordered_json &json, const std::vector<std::string> &names);
/// The text is that of tests/ctl/golden/NAME. TAPFLOW_UPDATE_GOLDEN=1 writes that file instead.
void expect_golden(const std::string &name, const std::string &text);

/// Gives a port that has been opened queues, and starts it.
void start(engine::Port &port, unsigned queues);

/// A port known to its application as "net_tap0", of which everything is the same in each run that can be.
class CtlTest : public InNetNs {
  protected:
    void open(const engine::PortOptions &options = named("tap0"), unsigned queues = 2);
    static engine::PortOptions named(const std::string &tap);
    /// "pattern ... / end actions ... / end", in group 0 unless it says otherwise.
    const engine::Flow *create(const std::string &rule);
    /// So many UDP packets of 60 bytes to a port, from the kernel to the application.
    void send_udp(uint16_t destination, unsigned count);

    std::unique_ptr<engine::Port> port;
};

} // namespace tapflow::test
