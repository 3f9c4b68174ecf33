#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Prints the summary of tools/test from the outcome of its checks and from CTest's reports."""

import argparse
import collections
import json
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

# The only reasons for which a test may be skipped; whatever else it needs, the machine can be given.
PERMITTED_SKIP = re.compile(r"(kernel|machine) lacks ")

# `program`: of a test in a guest, the executable that it is in.
Test = collections.namedtuple("Test", "suite name outcome reason program", defaults=("",))


def skip_reason(output):
    """The text a skipped test gave: after GoogleTest's "file:line: Skipped", or a line of its own."""
    found = re.search(r": Skipped\n+(?!\[)(.+)", output) or re.search(r"^((?:kernel|machine) lacks .+)", output, re.M)
    return found.group(1).strip() if found else "no reason given"


def failure(output, lines=30):
    """What a failed test said, from its first failure on, behind the seed that repeats it; else the end of its output."""
    said = output.rstrip().splitlines()
    first = next((i for i, line in enumerate(said) if re.search(r": (Failure|error)|Sanitizer|^unknown file", line)), None)
    shown = said[-lines:] if first is None else said[first : first + lines]
    return "\n".join(line for line in said if line.startswith("TAPFLOW_SEED=")) + "\n" + "\n".join(shown)


def read_labels(path):
    """The labels of each test, from ctest --show-only=json-v1."""
    labels = {}
    with open(path, encoding="utf-8") as file:
        for test in json.load(file)["tests"]:
            values = {entry["name"]: entry["value"] for entry in test.get("properties", [])}
            labels[test["name"]] = ",".join(values.get("LABELS", [])) or "unlabelled"
    return labels


def judged(suite, name, outcome, reason, program=""):
    """A test, and a failure if it was skipped for a reason that is none."""
    if outcome == "skipped" and not PERMITTED_SKIP.match(reason):
        outcome, reason = "failed", f"skipped, but this machine could run it: {reason}"
    return Test(suite, name, outcome, reason, program)


def guest_suite(name, output):
    """What to call the tests of a guest: by its kernel, and by the kernel's version if the guest's test said it."""
    version = re.search(r"^kernel \S+: .*, version (\S+)$", output, re.M)
    return name.replace("-", " ", 1) + (f" ({version.group(1)})" if version else "")


def read_guest(suite, name, outcome, reason, directory):
    """The tests inside a guest instead of the one that booted it, from GoogleTest's own reports."""
    if outcome == "skipped":
        return [judged(suite, name, outcome, reason)]
    tests = []
    for path in sorted(directory.glob("*.xml"), key=lambda path: [int(n) for n in re.findall(r"^\d+", path.name)]):
        program = path.stem.partition("-")[2]
        try:
            cases = list(ElementTree.parse(path).getroot().iter("testcase"))
        except ElementTree.ParseError as error:
            tests.append(Test(suite, path.stem, "failed", f"no report: {error}", program))
            continue
        for case in cases:
            inside, why = "passed", ""
            if case.find("failure") is not None:
                inside, why = "failed", " ".join(case.find("failure").get("message", "").splitlines()[:2])
            elif (skipped := case.find("skipped")) is not None:
                # The message is "file:line", then what the test said.
                inside, why = "skipped", skipped.get("message", "").partition("\n")[2].strip() or "no reason given"
            tests.append(judged(suite, f"{case.get('classname')}.{case.get('name')}", inside, why, program))
    # What failed may be the guest itself.
    if not tests or (outcome == "failed" and all(test.outcome != "failed" for test in tests)):
        tests.append(Test(suite, name, "failed", "see the log of its test"))
    return tests


def read_tests(run, report):
    """The tests of a run ("tests", "tests with sanitizers"): report.json lists them, report.xml has their results."""
    suffix = run.removeprefix("tests") if run.startswith("tests ") else ""
    try:
        labels = read_labels(report + ".json")
        cases = list(ElementTree.parse(report + ".xml").getroot().iter("testcase"))
    except (OSError, ValueError, ElementTree.ParseError) as error:
        return [Test(run, "ctest", "failed", f"no report: {error}")]
    tests = []
    for case in cases:
        name, status, output = case.get("name"), case.get("status"), case.findtext("system-out") or ""
        outcome, reason = {"run": "passed", "fail": "failed"}.get(status, "skipped"), ""
        if outcome == "skipped":
            reason = skip_reason(output)
        elif outcome == "failed":
            reason = failure(output)
        label = labels.get(name, "unlabelled")
        if label == "guest":
            tests += read_guest(guest_suite(name, output), name, outcome, reason, pathlib.Path(report).with_name(name))
        else:
            tests.append(judged(label + suffix, name, outcome, reason))
    return tests or [Test(run, "ctest", "failed", "no test was found")]


def rows(tests):
    """Lines of the table, each a title with its tests: the suites, and below those of guests the programs that ran."""
    for suite in dict.fromkeys(test.suite for test in tests):
        inside = [test for test in tests if test.suite == suite]
        yield suite, inside
        for program in dict.fromkeys(test.program for test in inside if test.program):
            yield f"  {program}", [test for test in inside if test.program == program]


def print_table(tests):
    table = list(rows(tests))
    width = max(len(title) for title, _ in table)
    print(f"{'':{width}}  passed  failed  skipped")
    for title, inside in table:
        counts = collections.Counter(test.outcome for test in inside)
        print(f"{title:{width}}  {counts['passed']:6}  {counts['failed']:6}  {counts['skipped']:7}")


def print_skips(tests):
    """How many tests of each suite were skipped, by reason."""
    skipped = [test for test in tests if test.outcome == "skipped"]
    if skipped:
        print("\nskipped:")
    for suite in dict.fromkeys(test.suite for test in skipped):
        print(f"  {suite}")
        for reason, count in collections.Counter(test.reason for test in skipped if test.suite == suite).most_common():
            print(f"    {count:4}  {reason}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="append", default=[], metavar="NAME=pass|fail")
    parser.add_argument("--tests", action="append", default=[], metavar="RUN=REPORT")
    parser.add_argument("--elapsed", default="?", metavar="SECONDS")
    arguments = parser.parse_args()

    tests = []
    for check in arguments.check:
        name, outcome = check.split("=")
        tests.append(Test("checks", name, "passed" if outcome == "pass" else "failed", ""))
    for run in arguments.tests:
        tests += read_tests(*run.split("=", 1))

    print_table(tests)
    print_skips(tests)
    failures = [test for test in tests if test.outcome == "failed"]
    if failures:
        print("\nfailed:")
        for test in failures:
            print(f"  {test.suite}: {test.name}" + (f": {test.reason}" if test.reason else "").replace("\n", "\n    "))

    total = collections.Counter(test.outcome for test in tests)
    print(f"\nafter {arguments.elapsed} s")
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
