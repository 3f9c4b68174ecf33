// SPDX-License-Identifier: BSD-3-Clause
// A classifier program at an interface's hook, taken off again by its owner.
#pragma once

#include "kernel/bpf.h"
#include "kernel/fd.h"
#include "kernel/link.h"
#include "kernel/netlink.h"
#include "kernel/tc.h"
#include "tapflow/result.h"

namespace tapflow::kernel {

/// The preference of this project's own cls_bpf filters: below those that rules get (256 and up).
constexpr uint16_t kFilterPreference = 200;
/// Of those that must see a packet before.
constexpr uint16_t kEarlyFilterPreference = 199;

/// A program attached over TCX or as a cls_bpf filter. The destructor detaches it and removes the clsact qdisc if
/// attaching has added it, or a killed process whose filter was taken over, and nobody else uses it; what the
/// interface's owner has there stays.
class Attachment {
  public:
    /// As cls_bpf filter in direct-action mode. `netlink` must outlive the attachment. Takes over a filter of that
    /// name. Errors: EEXIST when somebody else has a filter at our preference.
    static Result<Attachment> filter(Netlink &netlink, const LinkInfo &link, Hook hook, int program_fd,
                                     const std::string &name, uint16_t preference = kFilterPreference);
    /// Over TCX, in front of what is there and until the process ends; as cls_bpf filter on kernels before 6.6.
    static Result<Attachment> tcx_or_filter(Netlink &netlink, const LinkInfo &link, Hook hook, int program_fd,
                                            const std::string &name, uint16_t preference = kFilterPreference);

    /// Takes off a filter that a process has left, as the destructor of its attachment would have. That it has gone is
    /// no error.
    static Result<void> take_off(Netlink &netlink, const LinkInfo &link, const BpfFilter &filter);
    /// Takes off a filter of that name that a killed process has left, if there is one.
    static Result<void> remove_left(Netlink &netlink, const LinkInfo &link, Hook hook, const std::string &name);

    Attachment(Attachment &&other) noexcept;
    Attachment &operator=(Attachment &&) = delete;
    Attachment(const Attachment &) = delete;
    Attachment &operator=(const Attachment &) = delete;
    ~Attachment();

    /// For an interface that has gone, and has taken the filter along: nothing will be taken off, and nobody else's
    /// that has its index now is touched.
    void abandon();

    [[nodiscard]] bool is_tcx() const { return static_cast<bool>(tcx_); }

  private:
    Attachment() = default;

    Fd tcx_;
    Netlink *netlink_ = nullptr; ///< null: nothing to undo over netlink
    BpfFilter filter_;
    LinkInfo link_;
};

} // namespace tapflow::kernel
