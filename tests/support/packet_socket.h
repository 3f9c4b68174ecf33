// SPDX-License-Identifier: BSD-3-Clause
// Raw frames into and out of an interface.
#pragma once

#include "kernel/tun.h"
#include "packet/build.h"
#include "support/netns.h"
#include "support/system.h"
#include "support/wait.h"

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tapflow::test {

using kernel::VnetHeader;

struct PacketSocketOptions {
    bool receive = true;         ///< false: a socket that only sends costs the receive path nothing
    bool ignore_outgoing = true; ///< do not see what leaves through the interface (PACKET_IGNORE_OUTGOING)
    bool auxdata = true;         ///< report VLAN tags and checksum state the kernel keeps beside the frame
    bool qdisc_bypass = false;   ///< send past qdiscs, and so past clsact (PACKET_QDISC_BYPASS)
    bool vnet_hdr = false;       ///< every frame travels with a VnetHeader (PACKET_VNET_HDR)
};

struct ReceivedFrame {
    packet::Bytes bytes;              ///< without a VLAN tag that the kernel took out: see on_wire()
    std::optional<uint16_t> vlan_tci; ///< the tag kept beside the frame
    uint16_t vlan_tpid = 0;           ///< its TPID
    bool checksum_not_ready = false;  ///< only the pseudo header's sum is filled in (CHECKSUM_PARTIAL)
    VnetHeader offload;               ///< with PacketSocketOptions::vnet_hdr
    uint8_t packet_type = 0;          ///< PACKET_HOST, PACKET_OTHERHOST, PACKET_OUTGOING …

    /// The frame with its VLAN tag back in its place.
    [[nodiscard]] packet::Bytes on_wire() const;
};

/// An AF_PACKET socket bound to one interface. System call failures throw std::system_error.
class PacketSocket {
  public:
    PacketSocket(const NetNs &netns, const std::string &interface, const PacketSocketOptions &options = {});

    [[nodiscard]] int fd() const { return fd_.get(); }

    /// One attempt. False if the kernel took the frame and dropped it (ENOBUFS: a full queue, or a TC program's SHOT).
    bool send(const packet::Bytes &frame);
    /// The same with offload requests for the kernel, which needs PacketSocketOptions::vnet_hdr.
    bool send(const packet::Bytes &frame, const VnetHeader &offload);
    /// Sends in batches (sendmmsg) and tries a frame again, a little later, when its queue is full, `retries` times in
    /// a row at most. How many were sent: the first so many of `frames`.
    size_t send_burst(std::span<const packet::Bytes> frames, unsigned retries = 1000);

    /// The next frame, or nothing if none came in time.
    std::optional<ReceivedFrame> receive(milliseconds timeout = kDefaultTimeout);
    /// Frames until there are `count` of them, or none came for `timeout`.
    std::vector<ReceivedFrame> receive_many(size_t count, milliseconds timeout = kDefaultTimeout);
    /// Frames the socket lost because nobody read, since the last call.
    [[nodiscard]] unsigned dropped();

  private:
    void set(int option, int value, const char *name);

    Fd fd_;
    bool vnet_hdr_;
    packet::Bytes buffer_;
};

/// Offload request: complete the checksum of the packet's innermost TCP or UDP header, which must have been built with
/// Packet::partial_checksum().
[[nodiscard]] VnetHeader checksum_request(const packet::Packet &packet);
/// The same, and cut the payload into segments of `mss` bytes.
[[nodiscard]] VnetHeader gso_request(const packet::Packet &packet, VnetHeader::GsoType type, uint16_t mss);

} // namespace tapflow::test
