// SPDX-License-Identifier: BSD-3-Clause
#include "support/testpmd.h"

#include <stdexcept>

namespace tapflow::test {
namespace {

constexpr std::string_view kPrompt = "testpmd> ";
constexpr size_t kLineLimit = 510; // RDLINE_BUF_SIZE of DPDK's lib/cmdline is 512; found by trying

std::vector<std::string> command_line(const TestpmdOptions &options, const std::string &file_prefix) {
    std::vector<std::string> line = options.wrapper;
    const auto add = [&line](const std::vector<std::string> &words) {
        line.insert(line.end(), words.begin(), words.end());
    };
    // Lines as they are printed, not 4096 bytes later: stdout is no terminal.
    add({"stdbuf", "-oL", options.program, "--no-pci"});
    if (!options.telemetry)
        add({"--no-telemetry"});
    if (options.huge_directory.empty())
        add({"--no-huge"});
    else
        add({"--huge-dir", options.huge_directory});
    add({"-m", std::to_string(options.memory_mb), "--file-prefix", file_prefix});
    add({"--lcores", options.lcores.empty() ? floating_lcores(2) : options.lcores});
    if (!options.plugin.empty())
        add({"-d", options.plugin});
    for (const std::string &vdev : options.vdevs)
        line.push_back("--vdev=" + vdev);
    add(options.eal_arguments);
    add({"--", "-i", "--rxq=" + std::to_string(options.rxq), "--txq=" + std::to_string(options.txq)});
    line.push_back("--total-num-mbufs=" + std::to_string(options.mbufs));
    if (options.rxd != 0)
        line.push_back("--rxd=" + std::to_string(options.rxd));
    add(options.app_arguments);
    return line;
}

} // namespace

Testpmd::Testpmd(const TestpmdOptions &options) {
    ProcessOptions process{.environment = options.environment,
                           .netns = options.netns != nullptr ? options.netns->fd() : -1,
                           .keep_write_boundaries = true};
    process.environment.push_back(runtime_directory_.environment());
    process_.emplace(command_line(options, runtime_directory_.file_prefix()), process);
    wait_for_prompt("starting", kDefaultTimeout);
    banner_ = log_;
}

/// Reads one write of the child. Its forwarding lcore prints packets at any time, also in the middle of the echo and
/// of the prompt. But librte_cmdline writes those two byte by byte (cmdline_write_char) while stdio writes lines, so
/// the sizes of the writes tell the two apart.
bool Testpmd::pump(Clock::time_point deadline) {
    const auto text = process_->read_once(milliseconds(poll_timeout(deadline)));
    if (!text)
        throw std::runtime_error("testpmd ended with status " + std::to_string(process_->wait()) + "\n" +
                                 process_->output_tail());
    if (text->size() == 1 && *text != "\n") {
        terminal_ += *text;
    } else {
        log_ += *text;
        parser_.feed(*text);
    }
    return !text->empty();
}

void Testpmd::wait_for_prompt(const std::string &during, milliseconds timeout) {
    const auto deadline = Clock::now() + timeout;
    while (terminal_.find(kPrompt) == std::string::npos)
        if (!pump(deadline))
            throw std::runtime_error("no prompt in time: " + during + "\n" + process_->output_tail());
}

std::string Testpmd::command(const std::string &line, milliseconds timeout) {
    if (line.size() > kLineLimit)
        throw std::invalid_argument("testpmd would cut this line of " + std::to_string(line.size()) +
                                    " bytes: " + line);
    const size_t from = log_.size();
    terminal_.clear();
    process_->write(line + "\n");
    wait_for_prompt(line, timeout);
    const size_t echo_end = log_.find_first_not_of('\n', from);
    return echo_end == std::string::npos ? std::string() : log_.substr(echo_end);
}

std::vector<TestpmdPacket> Testpmd::packets(size_t count, milliseconds timeout) {
    const auto deadline = Clock::now() + timeout;
    while (parser_.count() < count && pump(deadline)) {
    }
    return parser_.take();
}

void Testpmd::clear_packets() {
    while (pump(Clock::now())) {
    }
    (void)parser_.take();
}

TestpmdPortStats Testpmd::port_stats(unsigned port) {
    return parse_port_stats(command("show port stats " + std::to_string(port))).at(port);
}

std::map<std::string, uint64_t> Testpmd::port_xstats(unsigned port) {
    return parse_port_xstats(command("show port xstats " + std::to_string(port))).at(port);
}

int Testpmd::quit(milliseconds timeout) {
    process_->write("quit\n");
    return process_->wait(timeout);
}

} // namespace tapflow::test
