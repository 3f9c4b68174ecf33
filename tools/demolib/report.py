# SPDX-License-Identifier: BSD-3-Clause
"""What testpmd should have printed, and the tables and verdict on what it did print."""

import collections

from demolib import QUEUES, RETA_SLOTS
from demolib.frames import dissect, toeplitz, u16
from demolib.machine import Received


def expect(frame, rss):
    """What testpmd must print for a frame, and what the frame is."""
    dissection = dissect(frame)
    value = toeplitz(rss.key, dissection.hash_input) if dissection.hash_input else None
    received = Received(
        frame[6:12].hex(":").upper(),
        frame[:6].hex(":").upper(),
        u16(frame, 12),
        len(frame),
        rss.reta[(value or 0) % RETA_SLOTS],
        value,
    )
    return dissection, received


# ---- the report


class Report:
    def __init__(self):
        self.checks = 0
        self.failures = []

    def check(self, ok, failure):
        self.checks += 1
        if not ok:
            self.failures.append(failure)
        return ok

    def verdict(self, elapsed):
        print()
        for failure in self.failures:
            print(f"FAIL  {failure}")
        if not self.failures:
            print(f"PASS  {self.checks} checks in {elapsed:.1f} s")
        return 1 if self.failures else 0


def heading(text):
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


def percent(part, whole):
    # Never 100.00 % because of rounding.
    return f"{int(part * 10000 / whole) / 100:.2f} %" if whole else "-"


def common(left, right):
    return sum((collections.Counter(left) & collections.Counter(right)).values())


def identity(packet):
    return packet[:4]


def print_kinds(expectations, received):
    kinds = collections.defaultdict(list)
    for dissection, packet in expectations:
        kinds[dissection.label].append((dissection, packet))
    print(f"  {'kind of frame':<22}{'flows':>7}{'frames':>9}{'right queue':>15}{'right hash':>15}")
    for label, members in sorted(kinds.items()):
        flows = {dissection.hash_input for dissection, _ in members} - {None}
        packets = [packet for _, packet in members]
        queue = common([(identity(p), p.queue) for p in packets], [(identity(p), p.queue) for p in received])
        value = common([(identity(p), p.hash) for p in packets], [(identity(p), p.hash) for p in received])
        value_text = "none, right" if not flows and value == len(packets) else percent(value, len(packets))
        print(
            f"  {label:<22}{len(flows) or '-':>7}{len(packets):>9,}"
            f"{percent(queue, len(packets)):>15}{value_text:>15}"
        )


def print_queues(expected, received):
    """Returns the imbalance."""
    counts = [[sum(p.queue == queue for p in packets) for queue in range(QUEUES)] for packets in (expected, received)]
    most = max(1, *counts[1])
    print(f"\n  {'queue':>5}{'expected':>11}{'received':>11}")
    for queue, (want, have) in enumerate(zip(*counts)):
        share = percent(have, len(received))
        print(f"  {queue:>5}{want:>11,}{have:>11,}  {share:>8}  {'=' * round(32 * have / most)}")
    return max(counts[1]) * QUEUES / max(1, len(received))


def compare(report, name, frames, rss, received, stats, limit=None):
    """Prints the tables of one round of traffic and records what had to hold."""
    expectations = [expect(frame, rss) for frame in frames]
    expected = [packet for _, packet in expectations]
    print_kinds(expectations, received)
    imbalance = print_queues(expected, received)

    total = len(expected)
    hashed = [p for p in expected if p.hash is not None]
    queue = common([(identity(p), p.queue) for p in expected], [(identity(p), p.queue) for p in received])
    value = common(
        [(identity(p), p.hash) for p in hashed], [(identity(p), p.hash) for p in received if p.hash is not None]
    )
    arrived = common(map(identity, expected), map(identity, received))
    ordered = all([p for p in expected if p.queue == q] == [p for p in received if p.queue == q] for q in range(QUEUES))
    bound = f", at most {limit}" if limit else ""
    print(f"\n  {'agreement':<11}{percent(queue, total):>10}   {queue:,} of {total:,} frames on the expected queue")
    print(f"  {'mbuf hash':<11}{percent(value, len(hashed)):>10}   {value:,} of {len(hashed):,} hashes as expected")
    print(f"  {'imbalance':<11}{imbalance:>10.2f}   fullest queue over the mean{bound}")
    print(f"  {'lost':<11}{total - arrived:>10,}   {'order kept' if ordered else 'ORDER CHANGED'} in every queue")

    report.check(arrived == total, f"{name}: {total - arrived} frames lost")
    report.check(len(received) == total, f"{name}: {len(received)} packets received for {total} frames")
    report.check(queue == total, f"{name}: {total - queue} frames not on the expected queue")
    report.check(value == len(hashed), f"{name}: {len(hashed) - value} frames without the expected hash")
    flagged = sum(p.hash is not None for p in received)
    report.check(flagged <= len(hashed), f"{name}: {flagged - len(hashed)} packets with a hash nobody expects")
    report.check(ordered, f"{name}: the queues did not deliver in the order of sending")
    counted = (stats.get("RX-packets"), stats.get("RX-missed"), stats.get("RX-errors"), stats.get("RX-nombuf"))
    report.check(counted == (total, 0, 0, 0), f"{name}: port statistics {counted} instead of ({total}, 0, 0, 0)")
    if limit:
        report.check(imbalance <= limit, f"{name}: imbalance {imbalance:.2f} above {limit}")
