// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/bpf.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

namespace tapflow::kernel {
namespace {

// enum bpf_attach_type of Linux 6.6; Debian 12's linux-libc-dev is older.
constexpr uint32_t kTcxIngress = 46;
constexpr uint32_t kTcxEgress = 47;
constexpr uint32_t kBefore = 1U << 3; // BPF_F_BEFORE: at the head when it is relative to nothing

thread_local std::string libbpf_warning;
thread_local std::string verifier_complaint;

int keep_warning(libbpf_print_level level, const char *format, va_list arguments) {
    if (level != LIBBPF_WARN)
        return 0;
    std::array<char, 256> start{};
    va_list again;
    va_copy(again, arguments);
    const int length = std::vsnprintf(start.data(), start.size(), format, arguments);
    std::string text(static_cast<size_t>(std::max(length, 0)) + 1, '\0');
    std::vsnprintf(text.data(), text.size(), format, again);
    va_end(again);
    text.resize(text.find_last_not_of(std::string_view("\n\0", 2)) + 1);
    // The verifier's complaint is the last line in front of its summary; what libbpf says after it adds nothing.
    if (const size_t summary = text.rfind("\nprocessed "); summary != std::string::npos)
        verifier_complaint =
            text.substr(text.rfind('\n', summary - 1) + 1, summary - text.rfind('\n', summary - 1) - 1);
    // The first names the cause; the others say what failed because of it.
    if (libbpf_warning.empty())
        libbpf_warning = std::move(text);
    return length;
}

} // namespace

std::string take_libbpf_warning() {
    static std::once_flag once;
    std::call_once(once, [] { libbpf_set_print(keep_warning); });
    const std::string warning = std::exchange(libbpf_warning, {});
    const std::string complaint = std::exchange(verifier_complaint, {});
    return complaint.empty() ? warning : "verifier: " + complaint;
}

Result<Mapping> Mapping::create(int fd, size_t offset, size_t length, bool writable, const std::string &what) {
    void *data = mmap(nullptr, length, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED | MAP_POPULATE, fd,
                      static_cast<off_t>(offset));
    if (data == MAP_FAILED)
        return last_error("map " + what + " into memory");
    return Mapping(data, length);
}

Mapping::Mapping(Mapping &&other) noexcept
    : data_(std::exchange(other.data_, nullptr)), length_(std::exchange(other.length_, 0)) {}

Mapping &Mapping::operator=(Mapping &&other) noexcept {
    std::swap(data_, other.data_);
    std::swap(length_, other.length_);
    return *this;
}

Mapping::~Mapping() {
    if (data_)
        munmap(data_, length_);
}

Result<Fd> create_constant_map(const char *name, std::span<const std::byte> value) {
    const std::string what = std::string("create BPF map ") + name;
    Fd map(bpf_map_create(BPF_MAP_TYPE_ARRAY, name, sizeof(uint32_t), static_cast<uint32_t>(value.size()), 1, nullptr));
    if (!map)
        return last_error(what);
    const uint32_t zero = 0;
    if (auto written = map_insert(map.get(), &zero, value.data(), what); !written)
        return written.error();
    if (bpf_map_freeze(map.get()) < 0)
        return last_error(what + ", freeze");
    return map;
}

namespace {

Result<Fd> create_array(bpf_map_type type, const char *name, size_t entry_bytes, size_t entries, uint32_t flags) {
    LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = flags);
    Fd map(bpf_map_create(type, name, sizeof(uint32_t), static_cast<uint32_t>(entry_bytes),
                          static_cast<uint32_t>(entries), &options));
    if (!map)
        return last_error(std::string("create BPF map ") + name);
    return map;
}

} // namespace

Result<Fd> create_shared_array(const char *name, size_t entry_bytes, size_t entries) {
    return create_array(BPF_MAP_TYPE_ARRAY, name, entry_bytes, entries, BPF_F_MMAPABLE);
}

Result<Fd> create_percpu_array(const char *name, size_t entry_bytes, size_t entries) {
    return create_array(BPF_MAP_TYPE_PERCPU_ARRAY, name, entry_bytes, entries, 0);
}

Result<Fd> create_ring_map(const char *name, size_t bytes) {
    Fd map(bpf_map_create(BPF_MAP_TYPE_RINGBUF, name, 0, 0, static_cast<uint32_t>(bytes), nullptr));
    if (!map)
        return last_error("create BPF ring of " + std::to_string(bytes) + " bytes");
    return map;
}

Result<Fd> create_hash_map(const char *name, size_t key_bytes, size_t value_bytes, size_t entries) {
    LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_NO_PREALLOC);
    Fd map(bpf_map_create(BPF_MAP_TYPE_HASH, name, static_cast<uint32_t>(key_bytes), static_cast<uint32_t>(value_bytes),
                          static_cast<uint32_t>(entries), &options));
    if (!map)
        return last_error(std::string("create BPF map ") + name);
    return map;
}

Result<void> bind_map(int program_fd, int map_fd, const std::string &what) {
    if (bpf_prog_bind_map(program_fd, map_fd, nullptr) < 0)
        return last_error("bind " + what + " to its program");
    return {};
}

Result<void> put_inner_maps(int outer, std::span<const int> inner, const std::string &what, uint32_t first) {
    std::vector<uint32_t> keys(inner.size());
    std::iota(keys.begin(), keys.end(), first);
    auto count = static_cast<uint32_t>(inner.size());
    if (bpf_map_update_batch(outer, keys.data(), inner.data(), &count, nullptr) < 0)
        return last_error(what);
    return {};
}

Result<void> map_insert(int map, const void *key, const void *value, const std::string &what) {
    if (bpf_map_update_elem(map, key, value, BPF_ANY) < 0)
        return last_error(what);
    return {};
}

Result<void> map_remove(int map, const void *key, const std::string &what) {
    if (bpf_map_delete_elem(map, key) < 0 && errno != ENOENT)
        return last_error(what);
    return {};
}

void map_discard(int map, const void *key) { (void)bpf_map_delete_elem(map, key); }

Result<Fd> attach_tcx(int ifindex, Hook hook, int program_fd, const std::string &what) {
    bpf_attr attributes{};
    attributes.link_create.prog_fd = static_cast<uint32_t>(program_fd);
    attributes.link_create.target_ifindex = static_cast<uint32_t>(ifindex);
    attributes.link_create.attach_type = hook == Hook::Ingress ? kTcxIngress : kTcxEgress;
    attributes.link_create.flags = kBefore;
    auto fd = static_cast<int>(syscall(SYS_bpf, BPF_LINK_CREATE, &attributes, sizeof(attributes)));
    if (fd < 0)
        return last_error(what);
    return Fd(fd);
}

} // namespace tapflow::kernel
