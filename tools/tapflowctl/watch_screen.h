// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "tapflow/result.h"
#include "tapflowctl/watch_view.h"

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

namespace tapflow::ctl {

/// The terminal, whole, until this goes: then it is as it was. One at a time.
class Screen {
  public:
    /// Errors: ENOTSUP for a terminal (TERM) of which nothing is known, or that cannot move its cursor.
    static Result<Screen> open();

    [[nodiscard]] size_t width() const;
    [[nodiscard]] size_t height() const;
    void draw(const std::vector<Line> &lines);
    /// The terminal may have another size now.
    void resize();
    /// A key that has been pressed; none: there are no more.
    std::optional<int> key();

  private:
    struct Terminal;
    struct Restore {
        void operator()(Terminal *terminal) const;
    };
    explicit Screen(std::unique_ptr<Terminal, Restore> terminal) : terminal_(std::move(terminal)) {}

    std::unique_ptr<Terminal, Restore> terminal_;
};

} // namespace tapflow::ctl
