// SPDX-License-Identifier: BSD-3-Clause
// What is said to whoever asks wrongly, or for too much.
#include "ctl/ctl_fixture.h"

#include <sstream>

namespace tapflow::test {
namespace {

/// As the help has them, between "Verbs:" and an empty line.
std::vector<std::string> verbs() {
    std::vector<std::string> result;
    std::istringstream lines(tapflowctl({"--help"}).out);
    bool there = false;
    for (std::string line; std::getline(lines, line);) {
        if (there && line.empty())
            break;
        if (there && line.starts_with("  ") && line[2] != ' ')
            result.push_back(line.substr(2, line.find(' ', 2) - 2));
        there = there || line == "Verbs:";
    }
    return result;
}

void expect_narrow(const std::string &text) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        const bool is_command = line.starts_with("  tapflowctl "); // it has to stay in one line
        EXPECT_TRUE(is_command || line.size() <= 80) << line;
    }
}

TEST(CtlArguments, VersionIsTheProjects) {
    const Said said = tapflowctl({"--version"});
    EXPECT_EQ(said.status, 0);
    EXPECT_EQ(said.out, "tapflowctl " TAPFLOW_VERSION "\n");
}

TEST(CtlArguments, HelpFitsATerminalAndShowsExamples) {
    expect_narrow(tapflowctl({"--help"}).out);
    EXPECT_GE(verbs().size(), 4U);
    for (const std::string &verb : verbs()) {
        SCOPED_TRACE(verb);
        const Said said = tapflowctl({verb, "--help"});
        EXPECT_EQ(said.status, 0);
        EXPECT_NE(said.out.find("Usage: tapflowctl " + verb), std::string::npos) << said.out;
        EXPECT_NE(said.out.find("Examples:\n  tapflowctl " + verb), std::string::npos) << said.out;
        expect_narrow(said.out);
    }
}

TEST(CtlArguments, WhatCannotBeDoneIsRefusedInOneLine) {
    const std::string very_long(100'000, 'x');
    const std::vector<std::vector<std::string>> wrong{
        {},
        {""},
        {"nonsense"},
        {"--nonsense"},
        {"-"},
        {"--"},
        {very_long},
        {"list", "more"},
        {"list", "--json=maybe"},
        {"list", "--nonsense"},
        {"list", "list"},
        {"show", "a", "b"},
        {"show", "\x1b[2J\x07\n\xff", "x\ny"},
        {"rules"},
        {"rules", "--json"},
        {"rules", "tap0", "more"},
        {"rules", "tap0", "--group"},
        {"rules", "tap0", "--group", "-1"},
        {"rules", "tap0", "--group", "one"},
        {"rules", "tap0", "--group", "99999999999999999999999"},
        {"rules", "tap0", "--group", very_long},
        {"rules", "tap0", "--sort", "colour"},
        {"rules", "tap0", "--sort", ""},
        {"rules", "tap0", "--interval", "nan"},
        {"rules", "tap0", "--interval", "inf"},
        {"rules", "tap0", "--interval", "0"},
        {"rules", "tap0", "--interval", "-1"},
        {"rules", "tap0", "--interval", "1e99"},
        {"rules", "tap0", "--ingress", "--egress"},
        {"rules", "tap0", "--hit", "--never-hit"},
        {"rules", "add", "tap0", "ingress", "pattern", "eth", "/", "end", "actions", "drop", "/", "end"},
        {"rules", "del", "tap0", "1", "--force"},
        {"save"},
        {"save", "a", "b"},
        {"explain"},
        {"explain", "tap0"},
        {"explain", "tap0", "--online", "arp 10.0.0.1 > 10.0.0.2"},
        {"verify"},
        {"verify", "tap0", "-n", "-1"},
        {"verify", "tap0", "-n", "many"},
        {"verify", "tap0", "--seed", "1e3"},
        {"verify", "tap0", "--pcap", "a.pcap", "-n", "3"},
        {"verify", "tap0", "--show", "-1"},
        {"balance"},
        {"balance", "tap0"},
        {"balance", "tap0", "--pcap"},
        {"diff"},
        {"diff", "tap0"},
        {"diff", "a", "b", "c"},
        {"diff", "a", "b", "--flows", "-1"},
        {"gc", "a", "b"},
        {"gc", "--dry-run", "--yes"},
        {"metrics", "tap0"},
        {"metrics", "--listen"},
        {"metrics", "--listen", "0", "--json"},
        {"completion", "csh"},
        {"completion"},
    };
    for (const auto &arguments : wrong) {
        SCOPED_TRACE(testing::PrintToString(arguments).substr(0, 200));
        expect_refused(tapflowctl(arguments));
    }
}

TEST(CtlArguments, RulesAreTheApplications) {
    for (const char *change : {"add", "del"}) {
        const Said said = tapflowctl({"rules", change, "tap0"});
        EXPECT_EQ(said.status, 2);
        EXPECT_EQ(said.err, std::string("tapflowctl: rules ") + change +
                                ": the application owns its rules, and would not know of a change from outside; "
                                "make it there, by rte_flow\n");
    }
}

TEST(CtlArguments, WithoutPrivilegesTheMissingCapabilityIsNamed) {
    for (const std::vector<std::string> &arguments :
         std::vector<std::vector<std::string>>{{"list"},
                                               {"list", "--json"},
                                               {"show"},
                                               {"show", "tap0"},
                                               {"rules", "tap0"},
                                               {"save", "tap0"},
                                               {"explain", "tap0", "arp 10.0.0.1 > 10.0.0.2"},
                                               {"explain", "tap0", "arp 10.0.0.1 > 10.0.0.2", "--offline", "--json"},
                                               {"verify", "tap0"},
                                               {"balance", "tap0", "--pcap", "missing.pcap"},
                                               {"diff", "tap0", "tap1"},
                                               {"gc"},
                                               {"gc", "tap0", "--yes"},
                                               {"metrics"},
                                               {"metrics", "--listen", "0"}}) {
        SCOPED_TRACE(testing::PrintToString(arguments));
        const Said said = tapflowctl_unprivileged(arguments);
        expect_refused(said);
        EXPECT_NE(said.err.find("CAP_SYS_ADMIN"), std::string::npos) << said.err;
    }
}

TEST(CtlArguments, OutputThatDoesNotArriveIsAnError) {
    const Said said = run_apart({"/bin/sh", "-c", TAPFLOWCTL " --help >/dev/full"});
    EXPECT_EQ(said.status, 2);
    EXPECT_EQ(said.err, "tapflowctl: write to standard output: No space left on device\n");
}

} // namespace
} // namespace tapflow::test
