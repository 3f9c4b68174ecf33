// SPDX-License-Identifier: BSD-3-Clause
// What the classifier must say about a frame, from the host's build of the parser and the hash.
#pragma once

#include "packet/build.h"
#include "packet/parse.h"
#include "rss/fields.h"
#include "rss/rss_config.h"
#include "rss/toeplitz.h"

#include <cstdint>
#include <memory>
#include <ostream>
#include <span>

namespace tapflow::test {

/// The part of a record that parsing and RSS decide.
struct Classified {
    unsigned packet_class = TAPFLOW_CLASS_NOT_IP;
    unsigned l3_offset = 0;
    unsigned l4_offset = 0;
    bool hashed = false;
    uint32_t hash = 0;
    unsigned queue = 0;

    bool operator==(const Classified &) const = default;

    friend std::ostream &operator<<(std::ostream &out, const Classified &c) {
        return out << "class " << c.packet_class << ", l3 " << c.l3_offset << ", l4 " << c.l4_offset << ", "
                   << (c.hashed ? "hash 0x" : "no hash 0x") << std::hex << c.hash << std::dec << ", queue " << c.queue;
    }
};

inline tapflow_packet parse(std::span<const uint8_t> frame, uint16_t outer_tpid = 0) {
    tapflow_packet packet{};
    tapflow_parse(frame.data(), frame.data() + frame.size(), outer_tpid, &packet);
    return packet;
}

inline std::unique_ptr<tapflow_rss> tables_of(const rss::RssConfig &config) {
    auto tables = std::make_unique<tapflow_rss>();
    rss::build_tables(config, *tables);
    return tables;
}

inline rss::RssConfig rss_config(uint64_t types, std::vector<uint16_t> reta = rss::round_robin_reta(4)) {
    return {{rss::default_key().begin(), rss::default_key().end()}, types, std::move(reta)};
}

/// `outer_tpid`: of a VLAN tag beside the frame, as on the wire; 0 for none.
inline Classified classify(const tapflow_rss &tables, std::span<const uint8_t> frame, uint16_t outer_tpid = 0) {
    tapflow_packet packet = parse(frame, outer_tpid);
    Classified result{packet.packet_class, packet.l3_offset, packet.l4_offset, false, 0, 0};
    if (tables.flags != 0)
        tapflow_rss_fields(&tables, frame.data(), frame.data() + frame.size(), &packet);
    result.hashed = tapflow_rss_hash(&tables, &packet, &result.hash) != 0;
    result.queue = tapflow_rss_queue(&tables, result.hash);
    return result;
}

} // namespace tapflow::test
