"""Hosts in network namespaces of their own, joined by lines that delay, lose, reorder and shape packets, that can be cut, and
that have a firewall which forgets connections.

The kernel's netem does the former and conntrack the latter, where a kernel has them; here one thread moves the packets between
TUN devices, so that it runs on every kernel and counts what it sees. Needs root and /dev/net/tun.
"""

import ctypes
import dataclasses
import fcntl
import heapq
import os
import random
import selectors
import socket
import struct
import subprocess
import threading
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
QUEUE_PACKETS = 1000  # As netem's limit.
SYN, ACK = 0x02, 0x10


def can_run():
    if os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
        return False
    return subprocess.run(["unshare", "-n", "ip", "tuntap", "add", "dev", "probe", "mode", "tun"], check=False,
                          stderr=subprocess.DEVNULL).returncode == 0


@dataclasses.dataclass
class Line:
    """Each way of a host's line; like `netem delay D J loss L rate R`, with the jitter uniform."""

    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    loss: float = 0.0
    bits_per_second: float = 0.0  # 0: any.


class Host:
    """Runs programs in a namespace that has one address and one line."""

    def __init__(self, name, address, line, device, holder):
        self.name = name
        self.address = address
        self.line = line
        self.is_cut = False
        self.forgets_after_seconds = None  # Of the firewall in front of this host; None: there is none.
        self.num_connections_opened = 0  # SYNs of this host that its firewall has seen.
        self.num_packets_refused = 0  # By the firewall.
        self.num_packets_lost = 0  # By the line.
        self.device = device
        self.prefix = ["nsenter", "-t", str(holder.pid), "-n"] if holder else []
        self._holder = holder
        self.flows = {}  # Connection → when its last packet passed.
        self.busy_until = {"up": 0.0, "down": 0.0}
        self.queued = {"up": 0, "down": 0}

    def close(self):
        os.close(self.device)
        if self._holder:
            self._holder.stdin.close()
            self._holder.wait()


class SlowNetwork:
    """The calling thread, and what it starts from now on, moves into a namespace of its own with the address 10.77.0.1."""

    def __init__(self, seed):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        self._chance = random.Random(seed)
        self._hosts = {}
        self._due = []  # (when, number, direction, host, packet)
        self._number = 0
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = os.pipe()
        self._selector.register(self._wake_reader, selectors.EVENT_READ, None)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        self.here = self._add("here", "10.77.0.1", Line(), None)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add_host(self, name, line):
        holder = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        with holder.stdout:
            holder.stdout.readline()  # It is in its namespace now.
        return self._add(name, f"10.77.0.{len(self._hosts) + 1}", line, holder)

    def _add(self, name, address, line, holder):
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        interface = f"tun{len(self._hosts)}"
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", interface.encode(), IFF_TUN | IFF_NO_PI))
        if holder:
            subprocess.run(["ip", "link", "set", interface, "netns", str(holder.pid)], check=True)
        host = Host(name, address, line, device, holder)
        for command in (["ip", "link", "set", "lo", "up"], ["ip", "address", "add", f"{address}/24", "dev", interface],
                        ["ip", "link", "set", interface, "up"]):
            subprocess.run([*host.prefix, *command], check=True)
        with self._lock:
            self._hosts[socket.inet_aton(address)] = host
            self._selector.register(device, selectors.EVENT_READ, host)
        os.write(self._wake_writer, b"\0")
        return host

    def close(self):
        os.write(self._wake_writer, b"x")
        self._thread.join()
        for host in self._hosts.values():
            host.close()
        self._selector.close()
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    # ------------------------------------------------------------------ packets, on the thread alone

    def _run(self):
        while True:
            timeout = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            for key, _ in self._selector.select(timeout):
                if key.data is None:
                    if b"x" in os.read(self._wake_reader, 4096):
                        return
                else:
                    self._read_all(key.data)
            while self._due and self._due[0][0] <= time.monotonic():
                _, _, direction, host, packet = heapq.heappop(self._due)
                host.queued[direction] -= 1
                self._arrived(direction, host, packet)

    def _read_all(self, host):
        for _ in range(QUEUE_PACKETS):
            try:
                packet = os.read(host.device, 65536)
            except BlockingIOError:
                return
            if len(packet) >= 20 and packet[0] >> 4 == 4:
                self._enter("up", host, packet)

    def _enter(self, direction, host, packet):
        line = host.line
        if host.is_cut or host.queued[direction] >= QUEUE_PACKETS or self._chance.random() < line.loss:
            host.num_packets_lost += 1
            return
        now = time.monotonic()
        sent = max(now, host.busy_until[direction])
        if line.bits_per_second > 0:
            sent += len(packet) * 8 / line.bits_per_second
        host.busy_until[direction] = sent
        due = sent + line.delay_seconds + self._chance.uniform(-1, 1) * line.jitter_seconds
        self._number += 1
        host.queued[direction] += 1
        heapq.heappush(self._due, (due, self._number, direction, host, packet))

    def _arrived(self, direction, host, packet):
        if host.is_cut:
            return
        if direction == "up":
            target = self._hosts.get(packet[16:20])
            if target is not None and self._passes_firewall(host, packet, True) and self._passes_firewall(target, packet, False):
                self._enter("down", target, packet)
            return
        try:
            os.write(host.device, packet)
        except OSError:
            pass  # The host's queue is full, or it is being closed.

    def _passes_firewall(self, host, packet, is_outgoing):
        """Whether the firewall in front of `host` lets it through: connections that the host has opened, while it remembers them."""
        if host.forgets_after_seconds is None or packet[9] != socket.IPPROTO_TCP:
            return True
        start = (packet[0] & 0x0F) * 4
        source, target = packet[start:start + 2], packet[start + 2:start + 4]
        flow = (source, packet[16:20], target) if is_outgoing else (target, packet[12:16], source)
        flags = packet[start + 13]
        now = time.monotonic()
        if is_outgoing and flags & (SYN | ACK) == SYN:
            host.num_connections_opened += flow not in host.flows
        elif now - host.flows.get(flow, -1e9) > host.forgets_after_seconds:
            host.flows.pop(flow, None)
            host.num_packets_refused += 1
            return False
        host.flows[flow] = now
        return True
