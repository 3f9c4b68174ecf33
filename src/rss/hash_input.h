// SPDX-License-Identifier: BSD-3-Clause
// The hash of a packet as its definition says it, for who wants to see how it came about. The classifier's way, by
// tables, shares the parser with it and nothing else.
#pragma once

#include "rss/rss_config.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tapflow::rss {

/// A part of what is hashed.
struct HashField {
    std::string name;           ///< "source address"
    std::vector<uint8_t> bytes; ///< zeros where a Modifier leaves it out, source ^ destination where that is hashed
};

/// What of a packet is hashed.
struct HashInput {
    uint8_t packet_class = 0;      ///< enum tapflow_packet_class: of the outermost headers
    uint8_t hashed_class = 0;      ///< of those that are hashed
    bool is_inner = false;         ///< the headers in a tunnel
    std::vector<HashField> fields; ///< in the order of hashing; empty: the packet is not hashed

    [[nodiscard]] std::vector<uint8_t> bytes() const;
};

/// `tables`: those that build_tables() makes of `config`. `frame`: from the destination address on; a tag that is not
/// in it is of no account.
HashInput hash_input(const RssConfig &config, const tapflow_rss &tables, std::span<const uint8_t> frame);

/// Toeplitz bit by bit (Microsoft's "RSS Hashing Functions"), or the exclusive-or of the input's words. None: nothing
/// is hashed.
std::optional<uint32_t> hash_of(const RssConfig &config, const HashInput &input);

/// "IPv4 TCP", of enum tapflow_packet_class.
const char *class_name(uint8_t packet_class);

} // namespace tapflow::rss
