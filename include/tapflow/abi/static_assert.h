/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* One spelling of static_assert for C (BPF) and C++ (host). */
#ifndef TAPFLOW_ABI_STATIC_ASSERT_H
#define TAPFLOW_ABI_STATIC_ASSERT_H

#ifdef __cplusplus
#define TAPFLOW_STATIC_ASSERT(condition, reason) static_assert(condition, reason)
#else
#define TAPFLOW_STATIC_ASSERT(condition, reason) _Static_assert(condition, reason)
#endif

#endif
