// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/ethtool.h"

#include "kernel/fd.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>
#include <string_view>
#include <vector>

namespace tapflow::kernel {
namespace {

/// A request whose answer the kernel puts behind its header.
template <typename Header> class Request {
  public:
    Request(uint32_t command, size_t answer_bytes)
        : words_((sizeof(Header) + answer_bytes + sizeof(uint64_t) - 1) / sizeof(uint64_t)) {
        header().cmd = command;
    }
    [[nodiscard]] Header &header() { return *reinterpret_cast<Header *>(words_.data()); }
    [[nodiscard]] const char *answer() const { return reinterpret_cast<const char *>(words_.data()) + sizeof(Header); }

  private:
    std::vector<uint64_t> words_;
};

template <typename Header> bool send(int socket, const std::string &interface, Request<Header> &request) {
    ifreq wrapper{};
    interface.copy(wrapper.ifr_name, IFNAMSIZ - 1);
    wrapper.ifr_data = reinterpret_cast<char *>(&request.header());
    return ioctl(socket, SIOCETHTOOL, &wrapper) == 0;
}

} // namespace

Result<bool> has_feature(const std::string &interface, const std::string &feature) {
    const std::string what = "look up feature " + feature + " of " + interface;
    const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket)
        return last_error(what);
    Request<ethtool_sset_info> size(ETHTOOL_GSSET_INFO, sizeof(uint32_t));
    size.header().sset_mask = uint64_t{1} << ETH_SS_FEATURES;
    if (!send(socket.get(), interface, size))
        return last_error(what);
    uint32_t count = 0;
    if (size.header().sset_mask != 0)
        std::memcpy(&count, size.answer(), sizeof(count));
    Request<ethtool_gstrings> names(ETHTOOL_GSTRINGS, size_t{count} * ETH_GSTRING_LEN);
    names.header().string_set = ETH_SS_FEATURES;
    names.header().len = count;
    const uint32_t blocks = (count + 31) / 32;
    Request<ethtool_gfeatures> features(ETHTOOL_GFEATURES, blocks * sizeof(ethtool_get_features_block));
    features.header().size = blocks;
    if (!send(socket.get(), interface, names) || !send(socket.get(), interface, features))
        return last_error(what);
    for (uint32_t i = 0; i < count; i++) {
        const char *name = names.answer() + size_t{i} * ETH_GSTRING_LEN;
        if (std::string_view(name, strnlen(name, ETH_GSTRING_LEN)) != feature)
            continue;
        ethtool_get_features_block block{};
        std::memcpy(&block, features.answer() + i / 32 * sizeof(block), sizeof(block));
        return (block.active >> i % 32 & 1) != 0;
    }
    return false;
}

} // namespace tapflow::kernel
