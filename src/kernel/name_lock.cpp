// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/name_lock.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

namespace tapflow::kernel {

Result<NameLock> NameLock::take(const std::string &name) {
    const std::string what = "take the name @" + name;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (name.size() >= sizeof(address.sun_path))
        return Error{ENAMETOOLONG, what, {}};
    std::copy(name.begin(), name.end(), address.sun_path + 1); // behind a zero: abstract
    Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket)
        return last_error(what);
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    if (::bind(socket.get(), reinterpret_cast<const sockaddr *>(&address), length) < 0)
        return last_error(what);
    return NameLock(std::move(socket));
}

} // namespace tapflow::kernel
