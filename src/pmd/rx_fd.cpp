// SPDX-License-Identifier: BSD-3-Clause
#include "pmd/rx_fd.h"

#include "engine/flow_rules.h"
#include "packet/parse.h"
#include "pmd/rx_special.h"
#include "pmd/shared.h"
#include "tapflow/abi/trailer.h"

#include <cstring>

namespace tapflow::pmd {
namespace {

void set_mark(uint32_t mark, tapflow_record &record) {
    record.flags |= TAPFLOW_RECORD_MARK;
    record.mark = mark;
}

/// Takes the classifier's trailer off a frame, if it has one, and what it says into the record.
bool take_trailer(const FdPath &path, const uint8_t *frame, tapflow_record &record) {
    tapflow_trailer trailer;
    if (record.length < sizeof(trailer))
        return false;
    std::memcpy(&trailer, frame + record.length - sizeof(trailer), sizeof(trailer));
    if ((uint64_t{trailer.cookie[1]} << 32 | trailer.cookie[0]) != path.cookie)
        return false;
    record.length -= static_cast<uint32_t>(sizeof(trailer));
    record.l3_offset = trailer.l3_offset;
    record.l4_offset = trailer.l4_offset;
    record.packet_class = trailer.packet_class;
    if (trailer.flags & TAPFLOW_TRAILER_HASH) {
        record.flags |= TAPFLOW_RECORD_HASH;
        record.hash = trailer.hash;
    }
    if (trailer.flags & TAPFLOW_TRAILER_MARK)
        set_mark(trailer.mark, record);
    if (trailer.flags & TAPFLOW_TRAILER_FLAG)
        record.flags |= TAPFLOW_RECORD_FLAG;
    return true;
}

/// Does on the host what the classifier could not deliver: of super-frames, of what the kernel has cut itself, and of
/// everything when the hash is not asked for. That the frame is ours, and which queue's, is decided: of the rules'
/// verdict the mark is left to do.
void parse_frame(const FdPath &path, const uint8_t *frame, tapflow_record &record) {
    tapflow_packet packet;
    tapflow_parse(frame, frame + record.length, 0, &packet);
    record.l3_offset = packet.l3_offset;
    record.l4_offset = packet.l4_offset;
    record.packet_class = packet.packet_class;
    if (path.hash && path.hash->hash(packet, {frame, record.length}, record.hash))
        record.flags |= TAPFLOW_RECORD_HASH;
    const tapflow_flow_verdict verdict = path.rules->match({frame, record.length});
    if (verdict.actions & TAPFLOW_FLOW_MARK)
        set_mark(verdict.mark, record);
    if (verdict.actions & TAPFLOW_FLOW_FLAG)
        record.flags |= TAPFLOW_RECORD_FLAG;
}

/// What the classifier's record would say of the frame that has been read.
tapflow_record describe_frame(const FdPath &path, size_t length) {
    const kernel::VnetHeader &header = path.reader->header();
    const uint8_t *frame = path.reader->frame();
    tapflow_record record{};
    record.length = static_cast<uint32_t>(length);
    if (header.flags & kernel::VnetHeader::kNeedsChecksum) {
        record.flags |= TAPFLOW_RECORD_CSUM_PARTIAL;
        record.csum_start = header.checksum_start;
        record.csum_offset = header.checksum_offset;
    } else if (header.flags & kernel::VnetHeader::kDataValid) {
        record.flags |= TAPFLOW_RECORD_CSUM_VERIFIED;
    }
    const uint8_t gso_type = header.gso_type & ~kernel::VnetHeader::kGsoEcn;
    if (gso_type != kernel::VnetHeader::kGsoNone) {
        record.flags |= TAPFLOW_RECORD_GSO;
        record.gso_size = header.gso_size;
        record.gso_type = gso_type == kernel::VnetHeader::kGsoUdpL4 ? TAPFLOW_GSO_UDP : TAPFLOW_GSO_TCP;
    } else if (path.hash && take_trailer(path, frame, record)) {
        return record;
    }
    parse_frame(path, frame, record);
    return record;
}

} // namespace

uint16_t rx_burst_fd(void *opaque, rte_mbuf **packets, uint16_t wanted) {
    auto &queue = *static_cast<RxQueue *>(opaque);
    FdPath &path = static_cast<ProcessPrivate *>(rte_eth_devices[queue.port].process_private)->fd[queue.id];
    uint16_t received = 0;
    uint64_t bytes = 0;
    while (received < wanted) {
        if (!path.waiting) {
            const size_t length = path.reader->read();
            if (length == 0)
                break;
            path.record = describe_frame(path, length);
            path.waiting = true;
        }
        const SpecialResult result = receive_special(queue, path.record, path.reader->frame(), packets + received,
                                                     static_cast<uint16_t>(wanted - received));
        for (uint16_t i = 0; i < result.packets; i++)
            bytes += packets[received + i]->pkt_len;
        received = static_cast<uint16_t>(received + result.packets);
        path.waiting = !result.finished;
        if (!result.finished)
            break;
    }
    if (received > 0) {
        queue.packets.add(received);
        queue.bytes.add(bytes);
        count_traffic(*path.traffic, received, bytes);
    }
    return received;
}

} // namespace tapflow::pmd
