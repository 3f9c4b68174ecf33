// SPDX-License-Identifier: BSD-3-Clause
// The manual page and the completions that are made when the program is built.
#include "ctl/ctl_fixture.h"

#include <filesystem>

namespace tapflow::test {
namespace {

const std::string kDocuments = TAPFLOW_CTL_DOCUMENTS;

TEST(CtlManual, IsWithoutFault) {
    const Said said = run_apart({"mandoc", "-T", "lint", "-W", "warning", kDocuments + "/tapflowctl.1"});
    EXPECT_EQ(said.status, 0) << said.out;
    EXPECT_EQ(said.out, "");
}

TEST(CtlManual, HasEveryVerbAndOption) {
    const std::string page =
        replaced(run_apart({"mandoc", "-T", "ascii", kDocuments + "/tapflowctl.1"}).out, {{".\b", ""}});
    for (const char *words :
         {"rules IFACE [options]", "--never-hit", "--interval SECONDS", "tapflowctl save tap0 >tap0.json",
          "Only rules in whose words this text is", "CAP_SYS_ADMIN", "EXIT STATUS"})
        EXPECT_NE(page.find(words), std::string::npos) << words << "\n" << page;
}

/// What bash offers for the last of these words.
std::string bash(const std::vector<std::string> &words) {
    std::string script = "tapflowctl() { printf '%s\\n' tap0 'a$(touch '\"$PWD\"'/pwned)'; }\n"
                         "source " +
                         kDocuments + "/completion.bash\nCOMP_WORDS=(";
    for (const std::string &word : words)
        script += '\'' + word + "' ";
    script += ") COMP_CWORD=" + std::to_string(words.size() - 1) +
              "\n_tapflowctl tapflowctl\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n";
    const Said said = run_apart({"bash", "--norc", "-c", script});
    EXPECT_EQ(said.err, "");
    return said.out;
}

TEST(CtlCompletion, Bash) {
    EXPECT_EQ(bash({"tapflowctl", "ru"}), "rules\n");
    EXPECT_EQ(bash({"tapflowctl", "rules", "--ne"}), "--never-hit\n");
    EXPECT_EQ(bash({"tapflowctl", "rules", "t"}), "tap0\n");
    EXPECT_EQ(bash({"tapflowctl", "rules", "tap0", "--sort", "h"}), "hits\n");
    EXPECT_EQ(bash({"tapflowctl", "rules", "--sort", "=", "pr"}), "priority\n");
    EXPECT_EQ(bash({"tapflowctl", "rules", "--sort", "hits", "t"}), "tap0\n") << "behind an option and its value";
    EXPECT_EQ(bash({"tapflowctl", "rules", "tap0", "t"}), "\n") << "there is no second argument";
    EXPECT_EQ(bash({"tapflowctl", "rules", "--group", ""}), "\n") << "any number";
    EXPECT_EQ(bash({"tapflowctl", "completion", ""}), "\n") << "hidden";
}

TEST(CtlCompletion, NamesOfPortsAreNotExecuted) {
    EXPECT_EQ(bash({"tapflowctl", "show", "a"}).find("a\\$\\(touch"), 0U);
    EXPECT_FALSE(std::filesystem::exists("pwned"));
}

TEST(CtlCompletion, Fish) {
    const auto fish = [](const std::string &line) {
        return run_apart({"fish", "--no-config", "-c",
                          "function tapflowctl; echo tap0; end\nsource " + kDocuments +
                              "/completion.fish\ncomplete -C '" + line + "'"})
            .out;
    };
    EXPECT_EQ(fish("tapflowctl ru"), "rules\tShow a port's rules, with what they have counted\n");
    EXPECT_EQ(fish("tapflowctl rules --ne"), "--never-hit\tOnly rules that count and have not counted any\n");
    EXPECT_EQ(fish("tapflowctl rules --sort h").substr(0, 4), "hits");
    EXPECT_EQ(fish("tapflowctl show t").substr(0, 4), "tap0");
}

TEST(CtlCompletion, Zsh) {
    // Completion works in a line editor only: one at a pseudo-terminal, which shows what it has completed.
    const auto zsh = [](const std::string &line, const std::string &completed) {
        const std::string script = "zmodload zsh/zpty\n"
                                   "zpty shell zsh -f -i\n"
                                   "zpty -w shell 'PS1= PS2= RPS1= TERM=dumb; autoload -Uz compinit; compinit -u -D'\n"
                                   "zpty -w shell 'tapflowctl() { echo tap0 }; source " +
                                   kDocuments +
                                   "/completion.zsh; print REA''DY'\n"
                                   "zpty -r shell output '*READY*'\n"
                                   "zpty -n -w shell $'" +
                                   line + "\\t'\n" + "zpty -r shell output '*" + completed + " *' && print FOUND\n";
        Process process({"zsh", "-f", "-c", script});
        return process.wait_for("FOUND");
    };
    zsh("tapflowctl ru", "rules");
    zsh("tapflowctl rules --ne", "--never-hit");
    zsh("tapflowctl rules tap0 --sort pri", "priority");
    zsh("tapflowctl show ta", "tap0");
}

} // namespace
} // namespace tapflow::test
