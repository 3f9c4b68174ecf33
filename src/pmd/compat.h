// SPDX-License-Identifier: BSD-3-Clause
// The one place for what differs between DPDK releases.
#pragma once

#include <bus_vdev_driver.h>
#include <ethdev_driver.h>
#include <ethdev_vdev.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_flow_driver.h>
#include <rte_version.h>

// 25.07: the name is exported without a counter.
#if RTE_VERSION >= RTE_VERSION_NUM(25, 7, 0, 0)
#define TAPFLOW_EXPORT_NAME(name) RTE_PMD_EXPORT_NAME(name)
#else
#define TAPFLOW_EXPORT_NAME(name) RTE_PMD_EXPORT_NAME(name, __COUNTER__)
#endif
