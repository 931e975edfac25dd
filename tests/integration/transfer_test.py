"""Models and reports over a line that breaks again and again.

CHORALE_TRANSFER_MB and CHORALE_CUT_SECONDS make it larger by hand: 1000 and 10 take some minutes.
"""

import hashlib
import os
import unittest

import federation
from cutting_proxy import CuttingProxy
from federation import make_job, states

MODEL_MB = int(os.environ.get("CHORALE_TRANSFER_MB", "32"))
CUT_SECONDS = float(os.environ.get("CHORALE_CUT_SECONDS", "2.5"))
# A cut finds about half of the model on its way.
BYTES_PER_SECOND = MODEL_MB * 1e6 / (1.7 * CUT_SECONDS) if MODEL_MB < 500 else 25e6
if MODEL_MB >= 500:
    federation.COMMAND_SECONDS = 1200  # Training alone takes minutes.
# Of what one cut makes useless: a chunk that is not whole, and what was between the two programs.
MOST_LOST_BYTES = 4 << 20


def job_of_size(megabytes, **changes):
    """Two hidden layers of the width that makes the model this large."""
    width = int((megabytes * 1e6 / 4) ** 0.5)
    return make_job(
        model={"mlp": {"hidden_units": [width, width], "activation": "relu"}},
        rounds={"count": 1, "min_reports": 3, "deadline": "3000s", "max_abandoned": 0},
        training={"optimizer": {"sgd": {"learning_rate": 0.1}}, "local_steps": 1, "batch_size": 16},
        **changes)


class BrokenLineTest(unittest.TestCase):
    def setUp(self):
        policy = {"max_parameters": 1_000_000_000}
        self.federation = federation.Federation(sites=("north", "east", "south"), policy=policy)
        self.addCleanup(self.federation.close)
        self.federation.start()

    def move_behind_a_broken_line(self, name):
        """Restarts the agent of a site behind a proxy, which is returned."""
        self.federation.agents[name].stop()
        port = int(self.federation.address.rsplit(":", 1)[1])
        proxy = CuttingProxy(port, BYTES_PER_SECOND, CUT_SECONDS)
        self.addCleanup(proxy.close)
        self.federation.write_site_config(name, coordinator=f"127.0.0.1:{proxy.port}")
        self.federation.start_agent(name).wait_for("session.connected")
        return proxy

    def check(self, job):
        undisturbed, _ = self.federation.train(job)
        proxy = self.move_behind_a_broken_line("north")

        job_id, shown = self.federation.train(job)

        self.assertEqual(set(states(shown["rounds"][-1]).values()), {"SITE_STATE_REPORTED"})
        digests = {hashlib.sha256(federation.safetensors_data(
            self.federation.pull(job) / "model.safetensors")).hexdigest() for job in (undisturbed, job_id)}
        self.assertEqual(len(digests), 1)
        weights = (self.federation.pull(job_id) / "model.safetensors").stat().st_size
        print(f"{weights / 1e6:.0f} MB, {proxy.num_cuts} cuts: down {proxy.bytes_down / weights:.3f}, "
              f"up {proxy.bytes_up / weights:.3f} of the model's size")
        self.assertGreaterEqual(proxy.num_cuts, 2)
        self.assertIn("transfer.interrupted", self.federation.agents["north"].text())
        self.assertIn("report.resumed", self.federation.agents["north"].text())
        for sent in (proxy.bytes_down, proxy.bytes_up):
            self.assertLess(sent, 1.01 * weights + proxy.num_cuts * MOST_LOST_BYTES)
        if MODEL_MB >= 500:
            self.assertLess(max(proxy.bytes_down, proxy.bytes_up), 1.05 * weights)

    def test_a_transfer_goes_on_where_it_broke_in_both_directions(self):
        self.check(job_of_size(MODEL_MB, data={
            "features": federation.FEATURES, "target": {"column": "num", "positive": ["1", "2", "3", "4"]},
            "standardization": "per_site"}, secure_aggregation={"none": {}}))

    def test_a_researchers_upload_and_pull_go_on_where_they_broke(self):
        job = job_of_size(MODEL_MB, secure_aggregation={"none": {}})
        trained, _ = self.federation.train(job)
        weights = self.federation.pull(trained) / "model.safetensors"
        size = weights.stat().st_size
        proxy = CuttingProxy(int(self.federation.address.rsplit(":", 1)[1]), BYTES_PER_SECOND, CUT_SECONDS)
        self.addCleanup(proxy.close)
        home = self.federation.researcher / "researcher.yaml"
        home.write_text(home.read_text().replace(self.federation.address, f"127.0.0.1:{proxy.port}"))

        # Training from these weights, which travel up, ends in others, which travel down.
        (self.federation.root / "start.safetensors").write_bytes(weights.read_bytes())
        job_id, shown = self.federation.train({**job, "name": "warm", "initial_model": {"file": "start.safetensors"}})
        pulled = self.federation.pull(job_id) / "model.safetensors"

        self.assertEqual(pulled.stat().st_size, size)
        self.assertGreaterEqual(proxy.num_cuts, 2)
        for sent in (proxy.bytes_down, proxy.bytes_up):
            self.assertGreater(sent, size)
            self.assertLess(sent, 1.01 * size + proxy.num_cuts * MOST_LOST_BYTES)


if __name__ == "__main__":
    unittest.main()
