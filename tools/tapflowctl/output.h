// SPDX-License-Identifier: BSD-3-Clause
// What the program says, and how: tables and numbers for eyes, JSON for programs, an error in one line.
#pragma once

#include "tapflow/result.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tapflow::ctl {

constexpr size_t kLineWidth = 80;

/// "tapflowctl: <what>: <why>; <remedy>" on stderr, whatever is in the texts in one line. Returns kNotDone.
int fail(std::string_view what, std::string_view why, std::string_view remedy = {});
/// The same for an error of the library. Returns kFound if there is no such port.
int fail(const Error &error);

/// Members keep the order in which they are put in.
using Json = nlohmann::ordered_json;
/// The beginning of a verb's document: {"tapflow": VERSION, "verb": VERB}.
Json document(std::string_view verb);

/// Onto stdout.
void print(std::string_view text);
/// A document in lines for eyes and diff(1): what is short has one.
std::string document_text(const Json &json);
void print_document(const Json &json);
/// One document of a stream, in one line, which goes out at once.
void print_line(const Json &json);

/// Whether stdout is a terminal whose user has not asked for none (NO_COLOR).
bool has_colours();
/// Emphasised, where there are colours.
std::string bold(const std::string &text);
/// What others have named, for a terminal: control characters are replaced, and what is no UTF-8.
std::string printable(std::string_view text);

/// Aligned columns. The last one is as long as it is.
class Table {
  public:
    enum class Align : uint8_t { Left, Right };
    struct Column {
        std::string title;
        Align align = Align::Left;
    };

    explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
    /// As many cells as there are columns.
    void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
    [[nodiscard]] bool empty() const { return rows_.empty(); }
    [[nodiscard]] std::string text() const;

  private:
    std::vector<Column> columns_;
    std::vector<std::vector<std::string>> rows_;
};

/// Broken between words into lines that begin with `indent` spaces, but for the first.
std::string wrap(std::string_view text, size_t indent, size_t width = kLineWidth);

/// "640 B", "1.5 KiB", "1 MiB".
std::string bytes_text(uint64_t bytes);
/// "640", "1.50 k", "12.3 M", and a unit: three digits, for what changes all the time.
std::string rate_text(double per_second, std::string_view unit);
/// "3.2 s", "4 min", "2 h 5 min", "3 d 4 h".
std::string duration_text(uint64_t nanoseconds);
/// "1 queue", "2 queues".
std::string plural(uint64_t count, const std::string &noun);
std::string join(const std::vector<std::string> &words, std::string_view separator);

} // namespace tapflow::ctl
