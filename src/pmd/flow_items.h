// SPDX-License-Identifier: BSD-3-Clause
// rte_flow's pattern items.
#pragma once

#include "flow/rule.h"
#include "pmd/compat.h"

namespace tapflow::pmd {

/// Reads a pattern. Masks are honoured bit by bit; without one the item's default mask is. A field whose `last`,
/// masked, is neither 0 nor what `spec` is, lies in a range; a VLAN's PCP and VID, and an IPv6 header's traffic class
/// and flow label, are fields by themselves. Mask bits of what cannot be matched are refused, but where `spec` asks for
/// the one value that there is.
///
/// ANY without a number says nothing: what comes behind it is looked for in the outermost headers.
///
/// Returns 0, or -errno with `error` (which may be null) filled in.
int convert_pattern(const rte_flow_item *pattern, flow::Match &match, rte_flow_error *error);

} // namespace tapflow::pmd
