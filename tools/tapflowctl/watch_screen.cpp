// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/watch_screen.h"

#include "tapflowctl/output.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <clocale>
#include <cstdio>
#include <cstdlib>

#define NCURSES_NOMACROS // else "erase" and "move" were macros
#include <curses.h>

namespace tapflow::ctl {
namespace {

constexpr short kWarningColour = 1;
constexpr int kEscapeDelay = 25; // ms

bool moves_cursor() {
    const char *capability = tigetstr("cup");
    return capability != nullptr && capability != reinterpret_cast<const char *>(-1);
}

Error unknown_terminal() {
    const char *name = std::getenv("TERM");
    return {ENOTSUP, "take over terminal", name == nullptr ? "TERM is not set" : "TERM is " + std::string(name)};
}

} // namespace

struct Screen::Terminal {
    SCREEN *screen = nullptr;
    bool emphasis = false;
    bool colours = false;
};

void Screen::Restore::operator()(Terminal *terminal) const {
    endwin();
    delscreen(terminal->screen);
    delete terminal;
}

Result<Screen> Screen::open() {
    std::setlocale(LC_CTYPE, ""); // for the characters of names
    SCREEN *screen = newterm(nullptr, stdout, stdin);
    if (screen == nullptr)
        return unknown_terminal();
    std::unique_ptr<Terminal, Restore> terminal(new Terminal{screen, has_colours()});
    if (!moves_cursor())
        return unknown_terminal();
    cbreak();
    noecho();
    curs_set(0);
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    set_escdelay(kEscapeDelay);
    if (terminal->emphasis && ::has_colors() && start_color() == OK && use_default_colors() == OK)
        terminal->colours = init_pair(kWarningColour, COLOR_RED, -1) == OK;
    return Screen(std::move(terminal));
}

size_t Screen::width() const { return static_cast<size_t>(getmaxx(stdscr)); }
size_t Screen::height() const { return static_cast<size_t>(getmaxy(stdscr)); }

void Screen::draw(const std::vector<Line> &lines) {
    ::erase();
    for (size_t i = 0; i < lines.size(); i++) {
        attr_t attributes = A_NORMAL;
        if (terminal_->emphasis && lines[i].emphasis != Emphasis::None)
            attributes = A_BOLD;
        const bool red = terminal_->colours && lines[i].emphasis == Emphasis::Warning;
        ::attr_set(attributes, red ? kWarningColour : short{0}, nullptr);
        ::mvaddstr(static_cast<int>(i), 0, lines[i].text.c_str());
    }
    ::refresh();
}

void Screen::resize() {
    winsize size{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0)
        resizeterm(size.ws_row, size.ws_col);
    ::clear();
}

std::optional<int> Screen::key() {
    for (;;) {
        const int key = ::getch();
        if (key == ERR)
            return std::nullopt;
        if (key != KEY_RESIZE) // resize() has put it there itself
            return key;
    }
}

} // namespace tapflow::ctl
