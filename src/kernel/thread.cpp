// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/thread.h"

#include <pthread.h>
#include <sched.h>

#include <cstring>

namespace tapflow::kernel {

void become_control_thread(const char *name) {
    pthread_setname_np(pthread_self(), name);
    cpu_set_t every;
    std::memset(&every, 0xff, sizeof(every));
    pthread_setaffinity_np(pthread_self(), sizeof(every), &every);
}

} // namespace tapflow::kernel
