// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/attachment.h"

#include <utility>

namespace tapflow::kernel {

Result<Attachment> Attachment::filter(Netlink &netlink, const LinkInfo &link, Hook hook, int program_fd,
                                      const std::string &name) {
    auto added = ensure_clsact(netlink, link);
    if (!added)
        return added.error();
    Attachment attachment;
    attachment.filter_ = {link.index, hook, kFilterPreference, 1, name};
    attachment.link_ = link;
    attachment.added_clsact_ = *added;
    // Replacing takes over what a killed process of ours has left at this place.
    if (auto put = replace_filter(netlink, attachment.filter_, program_fd); !put) {
        if (*added)
            (void)remove_clsact(netlink, link);
        return put.error();
    }
    attachment.netlink_ = &netlink;
    return attachment;
}

Result<Attachment> Attachment::tcx_or_filter(Netlink &netlink, const LinkInfo &link, Hook hook, int program_fd,
                                             const std::string &name) {
    auto tcx = attach_tcx(link.index, hook, program_fd,
                          "attach " + name + " to " + link.name + (hook == Hook::Ingress ? " ingress" : " egress"));
    if (!tcx && tcx.error().code == EINVAL)
        return filter(netlink, link, hook, program_fd, name);
    if (!tcx)
        return tcx.error();
    Attachment attachment;
    attachment.tcx_ = *std::move(tcx);
    return attachment;
}

Attachment::Attachment(Attachment &&other) noexcept
    : tcx_(std::move(other.tcx_)), netlink_(std::exchange(other.netlink_, nullptr)), filter_(std::move(other.filter_)),
      link_(std::move(other.link_)), added_clsact_(other.added_clsact_) {}

Attachment::~Attachment() {
    if (!netlink_)
        return;
    // Nobody is left to tell of a failure: the interface may be gone, and with it what was attached.
    (void)remove_filter(*netlink_, filter_);
    if (added_clsact_)
        (void)remove_clsact(*netlink_, link_);
}

} // namespace tapflow::kernel
