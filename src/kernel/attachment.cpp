// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/attachment.h"

#include <utility>

namespace tapflow::kernel {
namespace {

// The handle of a filter of ours says whose its qdisc is, for the one who takes it over from a killed process.
constexpr uint32_t kInOwnersQdisc = 1;
constexpr uint32_t kInOurQdisc = 2;

/// Adds the filter, or takes over what a killed process of ours has left at its place, with its handle. Somebody else's
/// stays.
Result<void> add_or_take_over(Netlink &netlink, const LinkInfo &link, BpfFilter &filter, int program_fd) {
    auto filters = list_filters(netlink, link, filter.hook);
    if (!filters)
        return filters.error();
    for (const BpfFilter &other : *filters) {
        if (other.preference != filter.preference || other.chain != filter.chain)
            continue;
        if (other.name == filter.name) {
            filter.handle = other.handle;
            return replace_filter(netlink, filter, program_fd);
        }
        return Error{EEXIST, "attach " + filter.name + " to " + link.name,
                     "preference " + std::to_string(filter.preference) +
                         " has a filter of somebody else: " + other.name};
    }
    return add_filter(netlink, filter, program_fd);
}

/// True if nobody has put a filter into the clsact qdisc since.
bool is_unused(Netlink &netlink, const LinkInfo &link) {
    for (const Hook hook : {Hook::Ingress, Hook::Egress}) {
        auto filters = list_filters(netlink, link, hook);
        if (!filters || !filters->empty())
            return false;
    }
    return true;
}

} // namespace

Result<Attachment> Attachment::filter(Netlink &netlink, const LinkInfo &link, Hook hook, int program_fd,
                                      const std::string &name, uint16_t preference) {
    auto added = ensure_clsact(netlink, link);
    if (!added)
        return added.error();
    Attachment attachment;
    attachment.filter_ = {{link.index, hook, preference, *added ? kInOurQdisc : kInOwnersQdisc}, name};
    attachment.link_ = link;
    if (auto put = add_or_take_over(netlink, link, attachment.filter_, program_fd); !put) {
        if (*added)
            (void)remove_clsact(netlink, link);
        return put.error();
    }
    attachment.netlink_ = &netlink;
    return attachment;
}

Result<Attachment> Attachment::tcx_or_filter(Netlink &netlink, const LinkInfo &link, Hook hook, int program_fd,
                                             const std::string &name, uint16_t preference) {
    auto tcx = attach_tcx(link.index, hook, program_fd,
                          "attach " + name + " to " + link.name + (hook == Hook::Ingress ? " ingress" : " egress"));
    if (!tcx && tcx.error().code == EINVAL)
        return filter(netlink, link, hook, program_fd, name, preference);
    if (!tcx)
        return tcx.error();
    Attachment attachment;
    attachment.tcx_ = *std::move(tcx);
    return attachment;
}

Result<void> Attachment::remove_left(Netlink &netlink, const LinkInfo &link, Hook hook, const std::string &name) {
    auto filters = list_filters(netlink, link, hook);
    if (!filters)
        return filters.error();
    for (const BpfFilter &filter : *filters)
        if (filter.name == name)
            if (auto removed = remove_filter(netlink, filter); !removed)
                return removed.error();
    return {};
}

Attachment::Attachment(Attachment &&other) noexcept
    : tcx_(std::move(other.tcx_)), netlink_(std::exchange(other.netlink_, nullptr)), filter_(std::move(other.filter_)),
      link_(std::move(other.link_)) {}

void Attachment::abandon() {
    tcx_.reset();
    netlink_ = nullptr;
}

Result<void> Attachment::take_off(Netlink &netlink, const LinkInfo &link, const BpfFilter &filter) {
    auto removed = remove_filter(netlink, filter);
    if (filter.handle == kInOurQdisc && is_unused(netlink, link))
        (void)remove_clsact(netlink, link);
    return removed || removed.error().code == ENOENT ? Result<void>() : removed;
}

Attachment::~Attachment() {
    // Nobody is left to tell of a failure: the interface may be gone, and with it what was attached.
    if (netlink_)
        (void)take_off(*netlink_, link_, filter_);
}

} // namespace tapflow::kernel
