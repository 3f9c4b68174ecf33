#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What tools/test-summary.py makes of CTest's reports and of those that guests leave."""

import json
import pathlib
import subprocess
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "tools" / "test-summary.py"
SKIP = '<testcase classname="Flow" name="{}"><skipped message="flow_test.cpp:7&#10;{}"/></testcase>'
PASS = '<testcase classname="Flow" name="{}"/>'


class Summary(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.logs = pathlib.Path(directory.name)

    def guest_report(self, name, *cases):
        (self.logs / name).parent.mkdir(exist_ok=True)
        (self.logs / name).write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")

    def summary(self, *cases):
        """Its status and lines for CTest tests given as (name, label, status, output)."""
        listed = [{"name": name, "properties": [{"name": "LABELS", "value": [label]}]} for name, label, *_ in cases]
        (self.logs / "run.json").write_text(json.dumps({"tests": listed}))
        run = "".join(f'<testcase name="{name}" status="{status}"><system-out>{output}</system-out></testcase>'
                      for name, _, status, output in cases)
        (self.logs / "run.xml").write_text(f"<testsuite>{run}</testsuite>")
        done = subprocess.run([SCRIPT, "--tests", f"guests={self.logs / 'run'}"], capture_output=True, text=True,
                              check=False)
        return done.returncode, [" ".join(line.split()) for line in done.stdout.splitlines()]

    def test_a_guests_programs_are_counted_under_its_kernels_version(self):
        self.guest_report("guest-6.1/1-unit_tests.xml", PASS.format("A"), PASS.format("B"))
        self.guest_report("guest-6.1/10-pmd_tests.xml", PASS.format("D"))
        self.guest_report("guest-6.1/2-kernel_tests.xml", PASS.format("C"), SKIP.format("S", "kernel lacks rings"))
        status, lines = self.summary(("guest-6.1", "guest", "run", "kernel 6.1: /cache/6.1, version 6.1.170-1\n"))
        self.assertEqual(status, 0)
        self.assertEqual(lines[1:5], ["guest 6.1 (6.1.170-1) 4 0 1", "unit_tests 2 0 0", "kernel_tests 1 0 1",
                                      "pmd_tests 1 0 0"])

    def test_skips_are_counted_by_reason_for_each_guest(self):
        skips = [SKIP.format(name, "kernel lacks " + what) for name, what in (("A", "TCX"), ("B", "TCX"), ("C", "kfuncs"))]
        self.guest_report("guest-6.1/1-kernel_tests.xml", *skips)
        self.guest_report("guest-6.12/1-kernel_tests.xml", PASS.format("A"), skips[2])
        _, lines = self.summary(("guest-6.1", "guest", "run", ""), ("guest-6.12", "guest", "run", ""))
        at = lines.index("skipped:")
        self.assertEqual(lines[at + 1:at + 6], ["guest 6.1", "2 kernel lacks TCX", "1 kernel lacks kfuncs",
                                                "guest 6.12", "1 kernel lacks kfuncs"])

    def test_a_kernel_that_cannot_be_fetched_is_one_skip_with_the_reason(self):
        self.guest_report("guest-newest/1-kernel_tests.xml", PASS.format("OfAnEarlierRun"))
        reason = "machine lacks kernel newest: it cannot be fetched (E: no route)"
        status, lines = self.summary(("guest-newest", "guest", "notrun", reason))
        self.assertEqual((status, lines[1]), (0, "guest newest 0 0 1"))
        self.assertIn(f"1 {reason}", lines)

    def test_a_skip_for_another_reason_is_a_failure(self):
        self.guest_report("guest-6.1/1-kernel_tests.xml", SKIP.format("A", "no time"))
        status, lines = self.summary(("guest-6.1", "guest", "run", ""))
        self.assertEqual((status, lines[-1]), (1, "0 passed, 1 failed, 0 skipped"))
        self.assertIn("guest 6.1: Flow.A: skipped, but this machine could run it: no time", lines)

    def test_a_guest_that_failed_without_a_failed_test_is_a_failure(self):
        self.guest_report("guest-6.1/1-kernel_tests.xml", PASS.format("A"))
        status, lines = self.summary(("guest-6.1", "guest", "fail", "oops"))
        self.assertEqual((status, lines[-1]), (1, "1 passed, 1 failed, 0 skipped"))


if __name__ == "__main__":
    unittest.main()
