// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/output.h"

#include "tapflowctl/verbs.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

namespace tapflow::ctl {
namespace {

/// The length in bytes of the UTF-8 character that `text` begins with; 0: none that can be printed.
size_t character_length(std::string_view text) {
    const auto byte = [&](size_t index) { return static_cast<uint8_t>(text[index]); };
    const auto follows = [&](size_t count) {
        if (text.size() <= count)
            return false;
        for (size_t i = 1; i <= count; i++)
            if ((byte(i) & 0xc0) != 0x80)
                return false;
        return true;
    };
    if (byte(0) < 0x80)
        return byte(0) >= 0x20 && byte(0) != 0x7f ? 1 : 0;
    // U+0080 to U+009F are control characters, too.
    if (byte(0) >= 0xc2 && byte(0) < 0xe0)
        return follows(1) && (byte(0) != 0xc2 || byte(1) >= 0xa0) ? 2 : 0;
    if ((byte(0) & 0xf0) == 0xe0)
        return follows(2) && (byte(0) != 0xe0 || byte(1) >= 0xa0) && (byte(0) != 0xed || byte(1) < 0xa0) ? 3 : 0;
    if (byte(0) >= 0xf0 && byte(0) < 0xf5)
        return follows(3) && (byte(0) != 0xf0 || byte(1) >= 0x90) && (byte(0) != 0xf4 || byte(1) < 0x90) ? 4 : 0;
    return 0;
}

/// How many places a text takes in a terminal, emphasis left out. Wide characters count as one.
size_t width_of(std::string_view text) {
    size_t width = 0;
    for (size_t i = 0; i < text.size(); i++) {
        if (text[i] == '\x1b')
            i = std::min(text.find('m', i), text.size() - 1);
        else if ((static_cast<uint8_t>(text[i]) & 0xc0) != 0x80)
            width++;
    }
    return width;
}

std::string number_text(double value, int decimals) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.*f", decimals, value);
    return text.data();
}

/// What fits into a line that somebody reads.
std::string excerpt(std::string_view text) {
    static constexpr size_t limit = 400;
    return text.size() <= limit ? printable(text) : printable(text.substr(0, limit)) + "...";
}

std::string dump(const Json &json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

/// In one line.
std::string flat(const Json &json) {
    std::string text;
    if (json.is_object())
        for (const auto &[name, member] : json.items())
            text += (text.empty() ? "" : ", ") + dump(name) + ": " + flat(member);
    else if (json.is_array())
        for (const Json &member : json)
            text += (text.empty() ? "" : ", ") + flat(member);
    else
        return dump(json);
    return json.is_object() ? '{' + text + '}' : '[' + text + ']';
}

/// What fits into the rest of a line is there, numbers fill lines, and everything else has a line of its own. `used`:
/// of the first line.
std::string indented(const Json &json, size_t indent, size_t used) {
    const std::string line = flat(json);
    if (!json.is_structured() || used + line.size() + 1 <= kLineWidth)
        return line;
    const std::string end = '\n' + std::string(indent, ' ');
    const std::string margin = end + "  ";
    if (json.is_array() && std::all_of(json.begin(), json.end(), [](const Json &each) { return each.is_number(); }))
        return '[' + margin + wrap(line.substr(1, line.size() - 2), indent + 2) + end + ']';
    std::string text;
    for (const auto &[name, member] : json.items()) {
        const std::string begin = json.is_object() ? dump(name) + ": " : "";
        text += (text.empty() ? "" : ",") + margin + begin + indented(member, indent + 2, indent + 2 + begin.size());
    }
    return json.is_object() ? '{' + text + end + '}' : '[' + text + end + ']';
}

} // namespace

int fail(std::string_view what, std::string_view why, std::string_view remedy) {
    std::string line = "tapflowctl: " + excerpt(what);
    if (!why.empty())
        line += ": " + excerpt(why);
    if (!remedy.empty())
        line += "; " + excerpt(remedy);
    std::fprintf(stderr, "%s\n", line.c_str());
    return kNotDone;
}

int fail(const Error &error) {
    fail(error.message(), "");
    return error.code == ENODEV ? kFound : kNotDone;
}

Json document(std::string_view verb) { return {{"tapflow", TAPFLOW_VERSION}, {"verb", verb}}; }

void print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

std::string document_text(const Json &json) { return indented(json, 0, kLineWidth) + '\n'; }

void print_document(const Json &json) { print(document_text(json)); }

void print_line(const Json &json) {
    print(dump(json) + '\n');
    std::fflush(stdout);
}

bool has_colours() {
    const char *none = std::getenv("NO_COLOR");
    return (none == nullptr || *none == 0) && isatty(STDOUT_FILENO) == 1;
}

std::string bold(const std::string &text) { return has_colours() ? "\x1b[1m" + text + "\x1b[0m" : text; }

std::string printable(std::string_view text) {
    std::string clean;
    while (!text.empty()) {
        const size_t length = character_length(text);
        if (length > 0)
            clean += text.substr(0, length);
        else
            clean += text[0] == '\n' || text[0] == '\t' ? ' ' : '?';
        text.remove_prefix(std::max<size_t>(length, 1));
    }
    return clean;
}

std::string Table::text() const {
    std::vector<size_t> widths;
    for (size_t column = 0; column < columns_.size(); column++) {
        size_t width = width_of(columns_[column].title);
        for (const auto &row : rows_)
            width = std::max(width, width_of(row[column]));
        widths.push_back(width);
    }
    std::string text;
    const auto append = [&](const std::vector<std::string> &row) {
        std::string line;
        for (size_t column = 0; column < row.size(); column++) {
            const std::string padding(widths[column] - width_of(row[column]), ' ');
            line += column == 0 ? "" : "  ";
            line += columns_[column].align == Align::Right ? padding + row[column] : row[column] + padding;
        }
        text += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
    };
    std::vector<std::string> titles;
    for (const Column &column : columns_)
        titles.push_back(bold(column.title));
    append(titles);
    for (const auto &row : rows_)
        append(row);
    return text;
}

std::string wrap(std::string_view text, size_t indent, size_t width) {
    std::string wrapped;
    size_t used = indent;
    while (!text.empty()) {
        const size_t end = std::min(text.find(' '), text.size());
        const std::string_view word = text.substr(0, end);
        if (used > indent && used + 1 + width_of(word) > width) {
            wrapped += '\n' + std::string(indent, ' ');
            used = indent;
        } else if (used > indent) {
            wrapped += ' ';
            used++;
        }
        wrapped += word;
        used += width_of(word);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return wrapped;
}

std::string bytes_text(uint64_t bytes) {
    static constexpr std::array<const char *, 7> units{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;
    auto value = static_cast<double>(bytes);
    for (; value >= 1024 && unit + 1 < units.size(); unit++)
        value /= 1024;
    const bool whole = value == static_cast<double>(static_cast<uint64_t>(value)); // NOLINT: exact on purpose
    return number_text(value, whole || value >= 100 ? 0 : 1) + ' ' + units[unit];
}

std::string rate_text(double per_second, std::string_view unit) {
    static constexpr std::array<const char *, 6> prefixes{"", "k", "M", "G", "T", "P"};
    size_t prefix = 0;
    // 999.5 would be printed as 1000.
    for (; per_second >= 999.5 && prefix + 1 < prefixes.size(); prefix++)
        per_second /= 1000;
    const int decimals = prefix == 0 || per_second >= 99.95 ? 0 : per_second >= 9.995 ? 1 : 2;
    std::string text = number_text(per_second, decimals);
    if (prefix > 0 || !unit.empty())
        text += ' ';
    return text + prefixes[prefix] + std::string(unit);
}

std::string duration_text(uint64_t nanoseconds) {
    const uint64_t seconds = nanoseconds / 1'000'000'000;
    const auto two = [](uint64_t large, const char *large_unit, uint64_t small, const char *small_unit) {
        std::string text = std::to_string(large) + ' ' + large_unit;
        return small == 0 ? text : text + ' ' + std::to_string(small) + ' ' + small_unit;
    };
    if (seconds < 60)
        return number_text(static_cast<double>(nanoseconds) / 1e9, seconds < 10 ? 1 : 0) + " s";
    if (seconds < 3600)
        return two(seconds / 60, "min", 0, "");
    if (seconds < 86400)
        return two(seconds / 3600, "h", seconds / 60 % 60, "min");
    return two(seconds / 86400, "d", seconds / 3600 % 24, "h");
}

std::string plural(uint64_t count, const std::string &noun) {
    return std::to_string(count) + ' ' + noun + (count == 1 ? "" : "s");
}

std::string join(const std::vector<std::string> &words, std::string_view separator) {
    std::string text;
    for (const std::string &word : words)
        text += (text.empty() ? "" : std::string(separator)) + word;
    return text;
}

} // namespace tapflow::ctl
