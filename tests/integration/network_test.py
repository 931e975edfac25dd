"""A federation over bad lines: far, slow, lossy, cut for minutes, behind a proxy and behind a firewall that forgets.

ctest runs a short form. By hand, in full: CHORALE_NETWORK=full (half an hour for the silence, as long for the rest).
"""

import json
import os
import random
import shutil
import subprocess
import threading
import unittest

import federation
import slow_network
from federation import Federation, make_job
from slow_network import Line, SlowNetwork

IS_FULL = os.environ.get("CHORALE_NETWORK") == "full"
NAMES = ["east", "north", "south", "west"]
FAR = Line(delay_seconds=0.2, jitter_seconds=0.1, loss=0.02, bits_per_second=10e6)
PROXY_PORT = 8888


class FederationOfHosts(Federation):
    """Every site is a host of its own; the coordinator and the researcher are where the test is."""

    def __init__(self, network, line, **coordinator_config):
        self.coordinator_host = network.here.address
        self.hosts = {name: network.add_host(name, line) for name in NAMES}
        self.proxy = "none"
        self._coordinator_config = coordinator_config
        super().__init__(NAMES)

    def write_coordinator_config(self, listen, **changes):
        super().write_coordinator_config(listen, **{**self._coordinator_config, **changes})

    def write_site_config(self, name, **changes):
        return super().write_site_config(name, **{"proxy": self.proxy, **changes})

    def agent_command(self, name):
        return [*self.hosts[name].prefix, *super().agent_command(name)]


@unittest.skipUnless(slow_network.can_run(), "makes network namespaces and TUN devices: needs root")
class NetworkTest(unittest.TestCase):
    def setUp(self):
        self.network = SlowNetwork(seed=20261127)
        self.addCleanup(self.network.close)

    def make_federation(self, line, **coordinator_config):
        made = FederationOfHosts(self.network, line, **coordinator_config)
        self.addCleanup(made.close)
        return made

    def start_proxy(self, directory):
        """tinyproxy on a host of its own, which is returned."""
        host = self.network.add_host("proxy", Line())
        config = directory / "tinyproxy.conf"
        config.write_text(f"Port {PROXY_PORT}\nListen {host.address}\nTimeout 600\nMaxClients 100\nAllow 10.77.0.0/24\n"
                          "LogLevel Info\nDisableViaHeader Yes\n")
        program = subprocess.Popen([*host.prefix, "tinyproxy", "-d", "-c", config], stdout=subprocess.PIPE,
                                   text=True)

        def stop():
            program.terminate()
            program.wait()
            program.stdout.close()

        self.addCleanup(stop)
        for line in program.stdout:
            if "Accepting connections" in line:
                break
        else:
            self.fail("tinyproxy has ended")
        threading.Thread(target=program.stdout.read, daemon=True).start()
        return host

    @unittest.skipUnless(shutil.which("tinyproxy"), "needs tinyproxy")
    def test_rounds_are_published_over_far_lines_that_are_cut_now_and_then(self):
        count = 20 if IS_FULL else 4
        trial = self.make_federation(FAR, heartbeat_interval="10s")
        proxy = self.start_proxy(trial.root)
        trial.proxy = f"http://{proxy.address}:{PROXY_PORT}"
        trial.start()
        job_id = trial.submit(make_job(
            rounds={"count": count, "min_reports": 3, "deadline": "120s", "max_abandoned": 100}))

        # From a second to the longest time: one site, then everybody at once, then one site after the other.
        chance = random.Random(7)
        longest, num_more = (600.0, 30) if IS_FULL else (5.0, 1)
        cuts = [(trial.hosts[name], longest ** chance.random()) for name in ["east", *chance.choices(NAMES, k=num_more)]]
        cuts.insert(1, (proxy, longest))
        num_done = 0
        has_ended = threading.Event()

        def cut_lines():
            nonlocal num_done
            for host, seconds in cuts:
                if has_ended.wait(chance.uniform(1, 5)):
                    return
                print(f"{host.name} is cut off for {seconds:.1f} s", flush=True)
                host.is_cut = True
                has_ended.wait(seconds)
                host.is_cut = False
                num_done += 1

        cutter = threading.Thread(target=cut_lines)
        cutter.start()
        try:
            for number in range(1, count + 1):
                trial.coordinator.wait_for("round.published", round=number, phase="training", timeout=1500)
        finally:
            has_ended.set()
            cutter.join()
        shown = trial.show(job_id)

        self.assertEqual(shown["job"]["state"], "JOB_STATE_COMPLETED", json.dumps(shown, indent=1))
        self.assertGreaterEqual(num_done, 2)
        self.assertGreater(sum(host.num_packets_lost for host in trial.hosts.values()), 0)

    def test_a_silent_connection_stays_open_through_a_firewall_that_forgets(self):
        # Nothing but pings passes in the full form: heartbeats are as rare as can be configured.
        forgets_after, silence, heartbeat = (300, 1800, "5min") if IS_FULL else (3, 9, "1s")
        trial = self.make_federation(Line(), heartbeat_interval=heartbeat)
        for host in trial.hosts.values():
            host.forgets_after_seconds = forgets_after
        trial.start()
        trial.train(make_job())
        opened = {name: host.num_connections_opened for name, host in trial.hosts.items()}

        ended = threading.Event()
        self.assertFalse(ended.wait(silence))
        trial.train(make_job(name="after-silence"))

        for name, host in trial.hosts.items():
            self.assertGreater(opened[name], 0)
            self.assertEqual(host.num_connections_opened, opened[name], name)
            self.assertEqual(host.num_packets_refused, 0, name)

    @unittest.skipUnless(IS_FULL, "takes as long as pings take to fail: CHORALE_NETWORK=full")
    def test_agents_dial_again_when_a_firewall_has_lost_its_table(self):
        trial = self.make_federation(Line())
        for host in trial.hosts.values():
            host.forgets_after_seconds = 300
        trial.start()
        for host in trial.hosts.values():
            host.flows.clear()

        for name in NAMES:
            trial.agents[name].wait_for("session.connected", timeout=120)
        trial.train(make_job())

        for host in trial.hosts.values():
            self.assertGreater(host.num_packets_refused, 0)


if __name__ == "__main__":
    unittest.main()
