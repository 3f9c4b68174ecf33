# SPDX-License-Identifier: BSD-3-Clause
"""What the demo runs on: commands, namespaces, testpmd and the RSS set-up of its port."""

import collections
import contextlib
import ctypes
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import tempfile
import time

from demolib import DEADLINE, QUEUES, RETA_SLOTS, DemoError

# ---- the machine: commands, namespaces, testpmd


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        reason = (done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}").splitlines()[-1]
        raise DemoError(f"{' '.join(str(word) for word in command)}: {reason}")
    return done.stdout


LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1


def end_with_the_demo():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Namespace:
    """A network namespace that lasts as long as the stack it is put on."""

    def __init__(self, stack, name):
        self.name = f"tapflow-demo-{os.getpid()}-{name}"
        stack.callback(subprocess.run, ["ip", "netns", "del", self.name], stderr=subprocess.DEVNULL, check=False)
        run("ip", "netns", "add", self.name)
        # Without IPv6 of its own the kernel sends nothing that nobody asked for.
        self.sysctl("ipv6/conf/default/disable_ipv6", 1)
        self.ip("link", "set", "lo", "up")

    def ip(self, *words):
        return run("ip", "-n", self.name, *words)

    @contextlib.contextmanager
    def entered(self):
        """The calling thread is in the namespace; a socket stays in the one it was made in."""
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self.name}") as there:
            if LIBC.setns(there.fileno(), CLONE_NEWNET) != 0:
                raise DemoError(f"cannot enter namespace {self.name}: {os.strerror(ctypes.get_errno())}")
            try:
                yield
            finally:
                LIBC.setns(home.fileno(), CLONE_NEWNET)

    def socket(self, *arguments):
        with self.entered():
            made = socket.socket(*arguments)
        made.settimeout(DEADLINE)
        return made

    def packet_socket(self, interface, protocol=0):
        with self.entered():
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            made.bind((interface, protocol))
        made.settimeout(DEADLINE)
        return made

    def sysctl(self, name, value):
        with self.entered():
            path = pathlib.Path("/proc/sys/net", name)
            if path.exists():  # no IPv6 in this kernel: nothing to switch off
                path.write_text(str(value))

    def mac(self, interface):
        text = re.search(r"link/ether (\S+)", self.ip("-o", "link", "show", interface)).group(1)
        return bytes.fromhex(text.replace(":", ""))


def connect_namespaces(left, left_name, right, right_name):
    left.ip("link", "add", left_name, "type", "veth", "peer", "name", right_name, "netns", right.name)
    for namespace, name in ((left, left_name), (right, right_name)):
        namespace.ip("link", "set", name, "up")


Received = collections.namedtuple("Received", "source destination ethertype length queue hash")


class Testpmd:
    """An interactive dpdk-testpmd. Commands are given while no packet is under way, so that nothing is printed into
    their answers."""

    PROMPT = "testpmd> "
    PACKET = re.compile(
        r"src=([0-9A-F:]{17}) - dst=([0-9A-F:]{17}) .*?- type=0x([0-9a-f]+) - length=(\d+) "
        r"(?:.*?- RSS hash=0x([0-9a-f]+) )?.*- Receive queue=0x([0-9a-f]+)"
    )

    def __init__(self, stack, namespace, plugin, vdevs, options=()):
        self.text = ""  # since the last command
        self.partial = ""
        self.packets = []
        cpus = ",".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0)))
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="tapflow-demo-"))
        command = ["ip", "netns", "exec", namespace.name, "stdbuf", "-oL", "dpdk-testpmd"]
        command += ["--no-huge", "-m", "256", "--no-pci", "--no-telemetry", "--lcores", f"0@({cpus}),1@({cpus})"]
        command += ["--file-prefix", f"tapflow-demo-{os.getpid()}", "-d", str(plugin)]
        command += [f"--vdev={vdev}" for vdev in vdevs]
        command += ["--", "-i", f"--rxq={QUEUES}", f"--txq={QUEUES}", "--total-num-mbufs=8192"]
        command += options
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"RUNTIME_DIRECTORY": directory},
            preexec_fn=end_with_the_demo,
            start_new_session=True,  # Ctrl-C is for the demo
        )
        stack.callback(self.kill)
        self.wait_for_prompt("starting")

    def kill(self):
        if self.process.poll() is None:
            self.process.terminate()  # testpmd closes its ports and ends
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def pump(self, deadline):
        """Reads what is there, waiting for it until the deadline. Returns False if that passed."""
        output = self.process.stdout.fileno()
        if not select.select([output], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return False
        data = os.read(output, 1 << 16).decode("latin-1")
        if not data:
            raise DemoError(f"testpmd ended with status {self.process.wait()}; it said last:\n{self.last_words()}")
        self.text += data
        *lines, self.partial = (self.partial + data).split("\n")
        for line in lines:
            if found := self.PACKET.search(line):
                source, destination, ethertype, length, value, queue = found.groups()
                self.packets.append(
                    Received(
                        source,
                        destination,
                        int(ethertype, 16),
                        int(length),
                        int(queue, 16),
                        int(value, 16) if value else None,
                    )
                )
        return True

    def last_words(self):
        lines = [line for line in self.text.splitlines() if line.strip()]
        return "\n".join("  " + line[:78] for line in lines[-8:])

    def wait_for_prompt(self, during):
        deadline = time.monotonic() + DEADLINE
        while self.PROMPT not in self.text:
            if not self.pump(deadline):
                raise DemoError(f"testpmd gave no prompt for {DEADLINE:.0f} s: {during}\n{self.last_words()}")

    def command(self, line):
        self.text = ""
        self.process.stdin.write((line + "\n").encode())
        self.process.stdin.flush()
        self.wait_for_prompt(line)
        return self.text

    def wait_for_packets(self, count):
        deadline, before = time.monotonic() + DEADLINE, len(self.packets)
        while len(self.packets) < count and self.pump(deadline):
            if len(self.packets) > before:
                deadline, before = time.monotonic() + DEADLINE, len(self.packets)
        return len(self.packets) >= count

    def stats(self, port):
        found = re.findall(r"(\S+-\S+): +(\d+)", self.command(f"show port stats {port}"))
        return {name: int(value) for name, value in found}

    def drops(self, port):
        """The extended statistics that say where packets went, those that are not zero."""
        found = re.findall(r"^(\w+): (\d+)\r?$", self.command(f"show port xstats {port}"), re.MULTILINE)
        counted = re.compile(r"missed|errors|full|stuck|mbuf|oversize|malformed|bypass|over_frame|unsupported|lease")
        return ", ".join(f"{name} {value}" for name, value in found if counted.search(name) and value != "0")

    def quit(self):
        self.process.stdin.write(b"quit\n")
        self.process.stdin.flush()
        deadline = time.monotonic() + DEADLINE
        with contextlib.suppress(DemoError):  # the end of the output is what is waited for
            while self.pump(deadline):
                pass
        try:
            return self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise DemoError(f"testpmd did not quit in {DEADLINE:.0f} s") from error


# ---- RSS as the port has it

Rss = collections.namedtuple("Rss", "key reta")
RSS_TYPES = {f"{ip}{what}" for ip in ("ipv4", "ipv6") for what in ("", "-frag", "-tcp", "-udp", "-other")}


def configure_rss(testpmd, rss=None):
    """Sets key and RETA if given, turns all types on, and reads back what the port says it has."""
    if rss:
        testpmd.command(f"port config 0 rss-hash-key ipv4 {rss.key.hex()}")  # leaves no type on but this one
        step = 12  # testpmd takes arguments of up to 128 characters
        for start in range(0, RETA_SLOTS, step):
            slots = ",".join(f"({i},{rss.reta[i]})" for i in range(start, min(start + step, RETA_SLOTS)))
            testpmd.command(f"port config 0 rss reta {slots}")
    testpmd.command("port config all rss all")
    shown = testpmd.command("show port 0 rss-hash key")
    key = re.search(r"^([0-9A-F]{80})\r?$", shown, re.MULTILINE)
    if not key or not RSS_TYPES <= set(shown.split()):
        raise DemoError(f"the port does not have all RSS types and a 40-byte key:\n{shown}")
    masks = ",".join(["0xffffffffffffffff"] * (RETA_SLOTS // 64))
    shown = testpmd.command(f"show port 0 rss reta {RETA_SLOTS} ({masks})")
    reta = [int(queue) for _, queue in re.findall(r"hash index=(\d+), queue=(\d+)", shown)]
    if len(reta) != RETA_SLOTS:
        raise DemoError(f"the port shows {len(reta)} RETA slots instead of {RETA_SLOTS}:\n{shown}")
    found = Rss(bytes.fromhex(key.group(1)), reta)
    if rss and found != rss:
        raise DemoError("the port shows another RSS key or RETA than was set")
    return found
