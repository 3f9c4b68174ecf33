// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/signals.h"

#include <sys/signalfd.h>

#include <csignal>

namespace tapflow::ctl {

Result<kernel::Fd> signals_as_fd(std::initializer_list<int> more) {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP})
        sigaddset(&signals, signal);
    for (const int signal : more)
        sigaddset(&signals, signal);
    kernel::Fd fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd || sigprocmask(SIG_BLOCK, &signals, nullptr) < 0)
        return last_error("wait for signals");
    return fd;
}

} // namespace tapflow::ctl
