// SPDX-License-Identifier: BSD-3-Clause
// TAP devices: drivers/net/tun.c as its users see it.
#pragma once

#include "kernel/fd.h"
#include "tapflow/result.h"

#include <sys/uio.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tapflow::kernel {

/// What precedes each frame on a queue's fd with IFF_VNET_HDR, in host byte order: virtio_net_hdr of
/// <linux/virtio_net.h>, which is no C++.
struct VnetHeader {
    enum Flag : uint8_t { kNeedsChecksum = 1, kDataValid = 2 };
    enum GsoType : uint8_t { kGsoNone = 0, kGsoTcpV4 = 1, kGsoTcpV6 = 4, kGsoUdpL4 = 5, kGsoEcn = 0x80 };

    uint8_t flags = 0;
    uint8_t gso_type = kGsoNone;
    uint16_t header_length = 0;   ///< bytes of headers, with GSO
    uint16_t gso_size = 0;        ///< payload bytes per segment, with GSO
    uint16_t checksum_start = 0;  ///< with kNeedsChecksum: where summing begins
    uint16_t checksum_offset = 0; ///< with kNeedsChecksum: the checksum field, from checksum_start
};
static_assert(sizeof(VnetHeader) == 10);

/// Writes one frame behind its VnetHeader to a queue's fd, without blocking. Returns write(2)'s result, errno set:
/// EAGAIN when the queue is full, EIO when the interface is down, EINVAL for a frame or header that makes no sense.
inline ssize_t write_frame(int queue, const void *bytes, size_t length) { return ::write(queue, bytes, length); }
/// The same from several pieces.
inline ssize_t write_frame(int queue, const iovec *pieces, int count) { return ::writev(queue, pieces, count); }

/// What a device's packets begin with.
enum class Layer : uint8_t {
    Ethernet, ///< a tap
    Ip,       ///< a tun
};

/// A multi-queue TAP, or TUN, device with IFF_VNET_HDR and every checksum and segmentation offload that the kernel has.
///
/// Queues are fds, non-blocking. Without IFF_PERSIST the device goes with its last fd. The kernel numbers queues by
/// attachment and renumbers them when one goes, so nothing here relies on a queue's number.
class Tun {
  public:
    /// Creates the device, or attaches to an existing persistent multi-queue tap of that name, with one queue.
    /// `name` may hold one "%d" for the kernel to fill in. The carrier is off.
    /// Errors: EINVAL with a reason when the name belongs to another kind of interface, EBUSY, EPERM.
    static Result<Tun> open(const std::string &name, Layer layer = Layer::Ethernet);

    [[nodiscard]] const std::string &name() const { return name_; }
    [[nodiscard]] size_t queues() const { return queues_.size(); }
    /// The fd of a queue; owned by this object.
    [[nodiscard]] int queue(size_t index) const { return queues_[index].get(); }

    /// False once the device has been deleted.
    [[nodiscard]] bool exists() const { return static_cast<bool>(current_name()); }
    /// What the device is called now. Errors: EBADFD when it was deleted.
    [[nodiscard]] Result<std::string> current_name() const;
    /// The network namespace that the device is in now (TUNGETDEVNETNS). Errors: EBADFD when it was deleted, EINVAL
    /// while its namespace goes.
    [[nodiscard]] Result<Fd> netns() const;

    /// Opens or closes queues until there are `count` (at least 1), also of a device that was renamed or moved to
    /// another namespace meanwhile.
    /// Errors: EBADFD when the device was deleted and there are queues to open.
    Result<void> set_queues(size_t count);
    Result<void> set_persistent(bool persistent);
    Result<void> set_carrier(bool on);
    /// For the two below: take the present program off.
    static constexpr int kNoProgram = -1;
    /// TUNSETSTEERINGEBPF: a SOCKET_FILTER program whose result is the queue of a packet.
    Result<void> set_steering(int program_fd);
    /// TUNSETFILTEREBPF: a SOCKET_FILTER program whose result is the number of bytes kept, 0 drops.
    Result<void> set_filter(int program_fd);
    /// Throws away what the kernel has queued for reading; of one queue.
    void drain();
    void drain(size_t queue);

  private:
    Tun(std::string name, Layer layer, Fd first) : name_(std::move(name)), layer_(layer) {
        queues_.push_back(std::move(first));
    }
    [[nodiscard]] Error ioctl_error(const char *what) const;
    [[nodiscard]] Result<Fd> attach_queue() const;

    std::string name_; ///< as it was when the device was opened
    Layer layer_;
    std::vector<Fd> queues_;
    bool carrier_ = false;
};

} // namespace tapflow::kernel
