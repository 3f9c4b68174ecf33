// SPDX-License-Identifier: BSD-3-Clause
// BPF maps and links: thin owners over bpf(2), where libbpf 1.1 has none.
#pragma once

#include "kernel/fd.h"
#include "kernel/tc.h"
#include "tapflow/result.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace tapflow::kernel {

/// An mmap'ed range, unmapped with its owner.
class Mapping {
  public:
    Mapping() = default;
    static Result<Mapping> create(int fd, size_t offset, size_t length, bool writable, const std::string &what);
    Mapping(Mapping &&other) noexcept;
    Mapping &operator=(Mapping &&other) noexcept;
    Mapping(const Mapping &) = delete;
    Mapping &operator=(const Mapping &) = delete;
    ~Mapping();

    [[nodiscard]] void *data() const { return data_; }
    [[nodiscard]] size_t size() const { return length_; }

  private:
    Mapping(void *data, size_t length) : data_(data), length_(length) {}
    void *data_ = nullptr;
    size_t length_ = 0;
};

/// A BPF_MAP_TYPE_ARRAY with one entry, written with `value` and frozen against later writes.
Result<Fd> create_constant_map(const char *name, std::span<const std::byte> value);
/// A BPF_MAP_TYPE_ARRAY of zeros that processes can map.
Result<Fd> create_shared_array(const char *name, size_t entry_bytes, size_t entries);
/// A BPF_MAP_TYPE_PERCPU_ARRAY of zeros.
Result<Fd> create_percpu_array(const char *name, size_t entry_bytes, size_t entries);
/// A BPF_MAP_TYPE_RINGBUF of `bytes`, a power of two and a multiple of the page size.
Result<Fd> create_ring_map(const char *name, size_t bytes);

/// A BPF_MAP_TYPE_HASH whose memory comes with its entries.
Result<Fd> create_hash_map(const char *name, size_t key_bytes, size_t value_bytes, size_t entries);
/// Keeps a map, which the program has no use for, as long as the program, and among its maps' ids.
Result<void> bind_map(int program_fd, int map_fd, const std::string &what);

/// Puts maps into the slots of an array of maps from `first` on, in one batch; returns once no program uses the former
/// ones (kernel/bpf/syscall.c: maybe_wait_bpf_programs).
Result<void> put_inner_maps(int outer, std::span<const int> inner, const std::string &what, uint32_t first = 0);

Result<void> map_insert(int map, const void *key, const void *value, const std::string &what);
/// Removing a key that is not there is no error.
Result<void> map_remove(int map, const void *key, const std::string &what);
/// The same for who can tell nobody of a failure. Allocates nothing.
void map_discard(int map, const void *key);

/// Attaches a SCHED_CLS program to an interface's TCX hook, in front of the others. The program goes when the fd goes.
/// Errors: EINVAL on kernels before 6.6, which have no TCX.
Result<Fd> attach_tcx(int ifindex, Hook hook, int program_fd, const std::string &what);

/// What libbpf warned of first in this thread, or the verifier's complaint if there was one, for the details of an
/// Error; cleared by reading. Also takes libbpf's output off stderr from the first call on.
std::string take_libbpf_warning();

} // namespace tapflow::kernel
