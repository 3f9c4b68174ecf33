# SPDX-License-Identifier: BSD-3-Clause
"""What tools/demo_session.py is made of."""

QUEUES = 4
RETA_SLOTS = 128
DEADLINE = 20.0  # seconds without any progress


class DemoError(Exception):
    """What stops the demo, in words for its user."""
