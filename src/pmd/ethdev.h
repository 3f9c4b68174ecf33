// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "pmd/compat.h"

namespace tapflow::pmd {

/// The operations of a port in the primary process.
extern const eth_dev_ops kPrimaryOps;

/// Takes down what the process holds of a port; ethdev frees the shared part. Also for a port that was never started.
int close_port(rte_eth_dev *dev);

} // namespace tapflow::pmd
