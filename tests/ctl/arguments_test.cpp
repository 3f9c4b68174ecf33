// SPDX-License-Identifier: BSD-3-Clause
// What is said to whoever asks wrongly, or for too much.
#include "ctl/ctl_fixture.h"

#include <sstream>

namespace tapflow::test {
namespace {

const std::vector<std::string> kVerbs{"list", "show", "rules", "save"};

TEST(CtlArguments, VersionIsTheProjects) {
    const Said said = tapflowctl({"--version"});
    EXPECT_EQ(said.status, 0);
    EXPECT_EQ(said.out, "tapflowctl " TAPFLOW_VERSION "\n");
}

TEST(CtlArguments, HelpFitsATerminalAndShowsExamples) {
    for (const std::string &verb : kVerbs) {
        const Said said = tapflowctl({verb, "--help"});
        EXPECT_EQ(said.status, 0);
        EXPECT_NE(said.out.find("Usage: tapflowctl " + verb), std::string::npos) << said.out;
        EXPECT_NE(said.out.find("Examples:\n  tapflowctl " + verb), std::string::npos) << said.out;
        EXPECT_NE(tapflowctl({"--help"}).out.find("\n  " + verb + ' '), std::string::npos);
    }
    for (const std::vector<std::string> &words : std::vector<std::vector<std::string>>{
             {"--help"}, {"list", "-h"}, {"show", "-h"}, {"rules", "-h"}, {"save", "-h"}}) {
        std::istringstream lines(tapflowctl(words).out);
        for (std::string line; std::getline(lines, line);)
            EXPECT_LE(line.size(), 80U) << line;
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
    for (const std::vector<std::string> &arguments : std::vector<std::vector<std::string>>{
             {"list"}, {"list", "--json"}, {"show"}, {"show", "tap0"}, {"rules", "tap0"}, {"save", "tap0"}}) {
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
