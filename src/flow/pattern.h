// SPDX-License-Identifier: BSD-3-Clause
// A match put together header by header, as rte_flow's patterns and the text form have them.
#pragma once

#include "flow/fields.h"
#include "flow/rule.h"
#include "tapflow/result.h"

#include <cstdint>
#include <span>
#include <string>

namespace tapflow::flow {

/// Stacks headers from the outermost on. Lower ones may be left out ("udp" alone is any UDP packet); a pattern without
/// a VLAN item matches tagged and untagged packets alike. A second IP header, or anything behind GRE, VXLAN and GENEVE,
/// is inner; tunnels are looked into one deep. L4 items never match fragments.
class Pattern {
  public:
    /// The next header. Errors: EINVAL for one that cannot follow the one before it, ENOTSUP for a tunnel in a tunnel
    /// and a third tag.
    Result<Place> next(Item item);
    /// `layers` headers of any kind.
    Result<void> any(unsigned layers);

    /// Demands (field & mask) == (value & mask); both as on the wire, as long as the field.
    void compare(const Field &field, Place place, std::span<const uint8_t> value, std::span<const uint8_t> mask);
    /// The same for an integer, right-aligned and in host byte order. Of two demands on one bit, the later counts.
    void compare(const Field &field, Place place, uint32_t value, uint32_t mask);
    /// Demands low <= (field & mask) <= high. Errors as set_range().
    Result<void> between(const Field &field, Place place, uint32_t mask, uint32_t low, uint32_t high) {
        return set_range(match_, field, place, mask, low, high);
    }
    /// Demands that a packet has, or has not, what the flag is about. Errors: ENOTSUP for a third tag.
    Result<void> has(const LayerFlag &flag, Place place, bool present);

    [[nodiscard]] const Match &match() const { return match_; }

  private:
    enum class Stage : uint8_t { Begin, Ether, Tag, Tag2, Network, Fragment, Transport, Tunnel, Key };
    void demand_layer(uint32_t layer, bool present);
    Result<Place> next_network(Item item);
    Result<Place> next_transport(Item item);
    Result<Place> next_tunnel(Item item);
    [[nodiscard]] Error misplaced(Item item, const std::string &why = {}) const;

    Match match_;
    Stage stage_ = Stage::Begin;
    Item last_ = Item::Eth; ///< the item before, if stage_ is not Begin
    bool inner_ = false;
};

} // namespace tapflow::flow
