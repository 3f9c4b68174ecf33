// SPDX-License-Identifier: BSD-3-Clause
#include "bench/sender.h"

#include "bench/measure.h"
#include "support/system.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <new>
#include <stdexcept>

namespace tapflow::bench {

/// Turns pass by the two numbers; the side that waits spins on the other's.
struct Sender::Shared {
    alignas(64) std::atomic<uint32_t> wanted{0};
    SendTask task;
    std::atomic<uint32_t> task_number{0};
    unsigned count = 0;
    alignas(64) std::atomic<uint32_t> finished{0};
    Batch batch;
};

namespace {

constexpr unsigned kUdpHeaders = 14 + 20 + 8;
constexpr size_t kIdentification = 14 + 4;
constexpr size_t kSourceAddressEnd = 14 + 14; ///< its last 16 bits
constexpr size_t kSourcePort = 14 + 20;

uint16_t read_be16(const uint8_t *from) { return static_cast<uint16_t>(from[0] << 8 | from[1]); }

void write_be16(uint8_t *to, uint16_t value) {
    value = htons(value);
    std::memcpy(to, &value, sizeof(value));
}

/// The identification makes up for the source address in the header's checksum.
void set_source(uint8_t *frame, uint16_t first, unsigned flow) {
    write_be16(frame + kSourceAddressEnd, static_cast<uint16_t>(first + flow));
    write_be16(frame + kIdentification, static_cast<uint16_t>(~flow));
}

test::Fd udp_socket(bool checksum) {
    auto fd = test::owned(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "UDP socket");
    const int off = checksum ? 0 : 1;
    setsockopt(fd.get(), SOL_SOCKET, SO_NO_CHECK, &off, sizeof(off));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(4001);
    inet_pton(AF_INET, "10.9.0.2", &to.sin_addr);
    if (connect(fd.get(), reinterpret_cast<sockaddr *>(&to), sizeof(to)) < 0)
        test::throw_errno("connect to 10.9.0.2");
    return fd;
}

test::Fd packet_socket(const char *interface) {
    auto fd = test::owned(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), "packet socket"); // protocol 0: receives none
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_ifindex = static_cast<int>(if_nametoindex(interface));
    if (bind(fd.get(), reinterpret_cast<sockaddr *>(&to), sizeof(to)) < 0)
        test::throw_errno(std::string("bind to ") + interface);
    return fd;
}

[[noreturn]] void serve(Sender::Shared &shared) {
    pin_to_cpu(kSenderCpu);
    const double clock_ns = clock_cost().thread_cpu_ns;
    test::Fd fd;
    SendTask task;
    unsigned flow = 0;
    uint16_t first_source = 0;
    uint32_t task_number = 0;
    for (uint32_t turn = 1;; turn++) {
        while (shared.wanted.load(std::memory_order_acquire) != turn)
            __builtin_ia32_pause();
        if (shared.task_number != task_number) {
            task_number = shared.task_number;
            task = shared.task;
            flow = 0;
            first_source = read_be16(task.frame + kSourceAddressEnd);
            fd = task.has_frame() ? packet_socket(task.interface) : udp_socket(task.kind == SendTask::UdpChecksum);
        }
        const bool frames = task.has_frame();
        const size_t length = frames ? task.size : task.size - kUdpHeaders;
        Sender::Batch batch;
        const uint64_t start = thread_cpu_ns();
        for (unsigned i = 0; i < shared.count; i++) {
            if (frames) {
                if (task.kind == SendTask::FrameSources)
                    set_source(task.frame, first_source, flow);
                else
                    write_be16(task.frame + kSourcePort, static_cast<uint16_t>(4000 + flow));
                flow = flow + 1 < task.flows ? flow + 1 : 0;
            }
            if (send(fd.get(), task.frame, length, 0) == static_cast<ssize_t>(length))
                batch.sent++;
            else
                batch.refused++;
        }
        batch.cpu_ns = thread_cpu_ns() - start - static_cast<uint64_t>(clock_ns);
        shared.batch = batch;
        shared.finished.store(turn, std::memory_order_release);
    }
}

} // namespace

Sender::Sender() {
    void *memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        test::throw_errno("map memory shared with the sender");
    shared_ = new (memory) Shared;
    child_ = fork();
    if (child_ < 0)
        test::throw_errno("fork");
    if (child_ > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    try {
        serve(*shared_);
    } catch (...) {
        _exit(report_exception("sender"));
    }
}

Sender::~Sender() {
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
    munmap(shared_, sizeof(Shared));
}

void Sender::set_task(const SendTask &task) {
    shared_->task = task;
    shared_->task_number++;
}

void Sender::start(unsigned count) {
    shared_->count = count;
    shared_->wanted.fetch_add(1, std::memory_order_release);
}

bool Sender::finished() {
    if (shared_->finished.load(std::memory_order_acquire) == shared_->wanted.load(std::memory_order_relaxed))
        return true;
    __builtin_ia32_pause();
    return false;
}

Sender::Batch Sender::batch() const { return shared_->batch; }

SendTask frame_task(const std::string &interface, const std::vector<uint8_t> &frame, unsigned flows) {
    SendTask task;
    if (frame.size() > sizeof(task.frame) || interface.size() >= sizeof(task.interface))
        throw std::length_error("frame or interface name too long");
    task.kind = SendTask::Frame;
    task.size = static_cast<unsigned>(frame.size());
    task.flows = flows;
    interface.copy(task.interface, sizeof(task.interface) - 1);
    std::memcpy(task.frame, frame.data(), frame.size());
    return task;
}

SendTask source_task(const std::string &interface, const std::vector<uint8_t> &frame, unsigned sources) {
    SendTask task = frame_task(interface, frame, sources);
    task.kind = SendTask::FrameSources;
    return task;
}

} // namespace tapflow::bench
