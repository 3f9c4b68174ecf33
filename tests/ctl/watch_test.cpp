// SPDX-License-Identifier: BSD-3-Clause
// "tapflowctl watch" as a program, and in a terminal.
#include "ctl/ctl_fixture.h"

#include "support/wait.h"

#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace tapflow::test {
namespace {

/// A terminal with a shell in it. Its server is a child like any other, so that nothing of it stays.
class Terminal {
  public:
    Terminal(unsigned columns, unsigned rows) : server_(command({"-D"})) {
        std::vector<std::string> session{"new-session",
                                         "-d",
                                         "-x",
                                         std::to_string(columns),
                                         "-y",
                                         std::to_string(rows),
                                         "env -u ENV -u NO_COLOR PS1='ready> ' sh"};
        if (!wait_until([&] { return run_command(command(session)).status == 0; }))
            throw std::runtime_error("tmux does not start: " + server_.output_tail());
        wait_for("^ready>");
    }
    ~Terminal() {
        (void)run_command(command({"kill-server"}));
        std::filesystem::remove_all(directory_);
    }
    Terminal(const Terminal &) = delete;
    Terminal &operator=(const Terminal &) = delete;

    void keys(const std::string &text) { say({"send-keys", "-l", text}); }
    void enter(const std::string &text) {
        keys(text);
        say({"send-keys", "Enter"});
    }
    void resize(unsigned columns, unsigned rows) {
        say({"resize-window", "-x", std::to_string(columns), "-y", std::to_string(rows)});
    }
    [[nodiscard]] std::string screen() const { return say({"capture-pane", "-p"}); }
    /// "1": the program has the screen for itself; "0": it has given it back.
    [[nodiscard]] std::string asked(const std::string &format) const { return say({"display-message", "-p", format}); }

    template <typename Meanwhile> std::string wait_for(const std::string &expression, Meanwhile meanwhile) const {
        std::string seen;
        const bool found = wait_until([&] {
            meanwhile();
            seen = screen();
            return replaced(seen, {{expression, ""}}) != seen;
        });
        EXPECT_TRUE(found) << "no " << expression << " in:\n" << seen;
        return seen;
    }
    std::string wait_for(const std::string &expression) const {
        return wait_for(expression, [] {});
    }

  private:
    [[nodiscard]] std::vector<std::string> command(const std::vector<std::string> &arguments) const {
        // -N: only the server that is a child.
        std::vector<std::string> all{"tmux", "-S", directory_ + "/socket", "-f", "/dev/null"};
        if (arguments[0] != "-D")
            all.emplace_back("-N");
        all.insert(all.end(), arguments.begin(), arguments.end());
        return all;
    }
    static std::string new_directory() {
        std::string name = testing::TempDir() + "tapflow-watch-XXXXXX";
        if (mkdtemp(name.data()) == nullptr)
            throw_errno("mkdtemp");
        return name;
    }
    std::string say(const std::vector<std::string> &arguments) const {
        const CommandResult result = run_command(command(arguments));
        EXPECT_EQ(result.status, 0) << arguments[0] << ": " << result.output;
        return result.output;
    }

    std::string directory_ = new_directory();
    Process server_;
};

/// `pid` as tmux says it, with the end of its line.
pid_t only_child_of(const std::string &pid) {
    const std::string shell = pid.substr(0, pid.find('\n'));
    std::ifstream children("/proc/" + shell + "/task/" + shell + "/children");
    pid_t child = -1;
    if (!(children >> child))
        throw std::runtime_error("the shell runs nothing");
    return child;
}

class CtlWatchTest : public CtlTest {
  protected:
    void open_with_rules() {
        open();
        create("pattern eth / ipv4 / udp dst is 53 / end actions count / queue index 1 / end");
        create("pattern eth / ipv4 / udp dst is 54 / end actions count / queue index 0 / end");
    }
    /// Packets go to queue 1, and come out of it as an application counts them.
    void some_traffic() {
        send_udp(53, 20);
        for (unsigned queue = 0; queue < 2; queue++)
            for (const Delivered &delivered : drain(port->ring(queue), queue)) {
                port->received(queue).packets++;
                port->received(queue).bytes += delivered.frame.size();
            }
    }
};

TEST_F(CtlWatchTest, InATerminal) {
    open_with_rules();
    Terminal terminal(80, 24);
    terminal.enter("stty -g; " TAPFLOWCTL " watch tap0 --interval 0.2; echo status $?; stty -g");
    const auto traffic = [&] { some_traffic(); };
    terminal.wait_for("^    1 +[1-9][0-9.]* k? .*on", traffic);
    const std::string screen = terminal.wait_for("^    1 +[1-9][0-9.]* k? .* eth / ipv4 / udp dst is 53", traffic);
    EXPECT_TRUE(screen.starts_with("tap0 (net_tap0): ")) << screen;
    EXPECT_EQ(terminal.asked("#{alternate_on}#{cursor_flag}"), "10\n");

    terminal.keys("s");
    terminal.wait_for("queues by packets");
    // Queue 1 is in front of queue 0 as long as it has packets.
    (void)wait_until([&] {
        some_traffic();
        const std::string seen = terminal.screen();
        return seen.find("\n    1 ") < seen.find("\n    0 ");
    });
    const std::string sorted = terminal.screen();
    EXPECT_LT(sorted.find("\n    1 "), sorted.find("\n    0 ")) << sorted;
    terminal.keys("?");
    terminal.wait_for("s sort queues, r sort rules");
    terminal.keys("?r");
    terminal.wait_for("rules by bits");

    terminal.resize(60, 15);
    terminal.wait_for("^s: packets  r: bits", traffic);
    terminal.resize(40, 10);
    terminal.wait_for("^QUEUE     RX/S  RX BIT/S   DROP/S   RING$", traffic);
    terminal.resize(80, 24);
    terminal.wait_for("^q quit", traffic);

    terminal.keys("p");
    terminal.wait_for("PAUSED");
    terminal.keys("q");
    const std::string after = terminal.wait_for("^status 0");
    EXPECT_EQ(terminal.asked("#{alternate_on}#{cursor_flag}"), "01\n");
    // What stty(1) has said before is there again, and the same as after.
    std::vector<std::string> settings;
    (void)wait_until([&] {
        settings.clear();
        std::istringstream all(terminal.screen());
        for (std::string line; std::getline(all, line);)
            if (line.find("status") == std::string::npos && line.find("ready") == std::string::npos &&
                std::count(line.begin(), line.end(), ':') > 10)
                settings.push_back(line);
        return settings.size() >= 2;
    });
    ASSERT_EQ(settings.size(), 2U) << terminal.screen();
    EXPECT_EQ(settings[0], settings[1]);
}

TEST_F(CtlWatchTest, SignalsLeaveTheTerminalAsItWas) {
    open_with_rules();
    Terminal terminal(80, 24);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) {
        SCOPED_TRACE(signal);
        terminal.enter("clear; " TAPFLOWCTL " watch tap0; echo ended $?; stty -a");
        terminal.wait_for("^QUEUE ");
        ASSERT_EQ(kill(only_child_of(terminal.asked("#{pane_pid}")), signal), 0);
        const std::string after = terminal.wait_for("^ended 0");
        terminal.wait_for(" echo ");
        EXPECT_EQ(terminal.asked("#{alternate_on}#{cursor_flag}"), "01\n") << after;
    }
    terminal.enter("clear; TERM=dumb " TAPFLOWCTL " watch tap0; echo ended $?");
    terminal.wait_for("^tapflowctl: take over terminal: .*dumb");
    terminal.wait_for("^ended 2");
}

TEST_F(CtlWatchTest, AsJson) {
    open_with_rules();
    Process watch({TAPFLOWCTL, "watch", "tap0", "--json", "-n", "3", "--interval", "0.5", "--rules", "1"});
    while (watch.running())
        some_traffic();
    ASSERT_EQ(watch.wait(), 0);
    std::istringstream output(watch.output());
    std::vector<nlohmann::ordered_json> documents;
    for (std::string line; std::getline(output, line);)
        documents.push_back(valid_json({0, line, ""}, "watch"));
    ASSERT_EQ(documents.size(), 3U);
    const nlohmann::ordered_json &last = documents[2];
    EXPECT_TRUE(last["present"]);
    EXPECT_GT(last["seconds"], 0);
    EXPECT_GT(last["rx_queues"][1]["packets_per_second"], 0);
    EXPECT_DOUBLE_EQ(last["received"]["bytes_per_second"], 60 * last["received"]["packets_per_second"].get<double>());
    EXPECT_EQ(last["rule_count"], 2);
    ASSERT_EQ(last["rules"].size(), 1U);
    EXPECT_EQ(last["rules"][0]["id"], 1);
    EXPECT_GT(last["rules"][0]["packets_per_second"], 0);
    EXPECT_GT(last["time_ns"], documents[0]["time_ns"]);
}

TEST_F(CtlWatchTest, APortThatGoesAndComesBack) {
    open_with_rules();
    Process watch({TAPFLOWCTL, "watch", "tap0", "--json", "--interval", "0.1"});
    watch.wait_for("\"present\":true");
    port.reset();
    watch.wait_for("\"present\":false");
    open();
    watch.wait_for("\"present\":true");
    watch.kill(SIGTERM);
    EXPECT_EQ(watch.wait(), 0);
}

TEST_F(CtlWatchTest, SaysWhatIsWrong) {
    open();
    const Said no_terminal = tapflowctl({"watch", "tap0"});
    expect_refused(no_terminal);
    EXPECT_EQ(no_terminal.err,
              "tapflowctl: watch: standard output is no terminal; use --json, or \"tapflowctl show\"\n");
    expect_refused(tapflowctl({"watch", "no-such-port", "--json"}), 1);
    for (const std::vector<std::string> &wrong : std::vector<std::vector<std::string>>{
             {"watch"},
             {"watch", "tap0", "--json", "--interval", "0"},
             {"watch", "tap0", "--json", "--interval", "nan"},
             {"watch", "tap0", "--json", "-n", "0"},
             {"watch", "tap0", "--rules", "1"},
         })
        expect_refused(tapflowctl(wrong));
    const Said said = tapflowctl_unprivileged({"watch", "tap0", "--json"});
    expect_refused(said);
    EXPECT_NE(said.err.find("CAP_SYS_ADMIN"), std::string::npos) << said.err;
}

} // namespace
} // namespace tapflow::test
