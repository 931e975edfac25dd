"""Whole jobs over four agents: participation, loss of sites, quorum, restarts, determinism."""

import hashlib
import json
import signal
import unittest

import federation
from federation import make_job, slow_training, states


class WholeJobTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.federation = federation.Federation().start()

    @classmethod
    def tearDownClass(cls):
        cls.federation.close()

    def test_ten_rounds_publish_with_every_site_and_a_falling_loss(self):
        job = make_job(rounds={"count": 10, "min_reports": 4, "deadline": "60s"})

        job_id, shown = self.federation.train(job)

        training = [r for r in shown["rounds"] if r["phase"] == "training"]
        self.assertEqual([r["round"] for r in training], list(range(1, 11)))
        for record in shown["rounds"]:
            self.assertEqual(set(states(record).values()), {"SITE_STATE_REPORTED"})
            self.assertEqual(len(record["sites"]), 4)
        losses = [r["metrics"][0]["value"] for r in training]
        self.assertLess(losses[-1], losses[0])
        self.assertAlmostEqual(losses[0], 0.6931, places=3)  # All-zero parameters: ln 2.

    def test_the_pulled_model_matches_the_manifest(self):
        job_id, shown = self.federation.train(make_job())

        out = self.federation.pull(job_id)

        tensors = federation.load_safetensors(out / "model.safetensors")
        self.assertEqual(tensors["linear.weight"].shape, (1, 8))
        self.assertEqual(tensors["linear.bias"].shape, (1,))
        manifest = json.loads((out / "manifest.json").read_text())
        self.assertEqual(manifest["job"], job_id)
        self.assertEqual(len(manifest["rounds"]), len(shown["rounds"]))

    def test_the_same_job_gives_the_same_bytes_whatever_the_arrival_order(self):
        job = make_job(model={"mlp": {"hidden_units": [16, 8], "activation": "relu"}})
        digests = set()

        for slowed in ("north", "west"):
            # Halting one agent makes it report last.
            self.federation.agents[slowed].signal(signal.SIGSTOP)
            job_id = self.federation.submit(job)
            self.federation.agents["south"].wait_for("report.acknowledged")
            self.federation.agents[slowed].signal(signal.SIGCONT)
            self.federation.wait_job(job_id)
            weights = self.federation.pull(job_id) / "model.safetensors"
            digests.add(hashlib.sha256(federation.safetensors_data(weights)).hexdigest())

        self.assertEqual(len(digests), 1)

    def test_a_cancelled_job_stops_its_agents_and_says_who_cancelled_it(self):
        job_id = self.federation.submit(make_job(training=slow_training()))
        agent = self.federation.agents["north"]
        agent.wait_for("task.taken", round=1)

        federation.run("job", "cancel", job_id, "--as", self.federation.researcher)

        shown = self.federation.wait_job(job_id)
        self.assertEqual(shown["job"]["state"], "JOB_STATE_CANCELLED")
        self.assertIn("alice", shown["job"]["reason"])
        agent.wait_for("task.cancelled")

    def test_two_jobs_run_at_the_same_time(self):
        slow = self.federation.submit(make_job(name="slow", rounds={
            "count": 30, "min_reports": 4, "deadline": "60s"}))
        quick = self.federation.submit(make_job(name="quick", rounds={
            "count": 1, "min_reports": 4, "deadline": "60s"}))

        quick_shown = self.federation.wait_job(quick)
        slow_shown = self.federation.wait_job(slow)

        self.assertEqual(quick_shown["job"]["state"], "JOB_STATE_COMPLETED")
        self.assertEqual(slow_shown["job"]["state"], "JOB_STATE_COMPLETED")
        self.assertLess(quick_shown["job"]["ended_at"], slow_shown["job"]["ended_at"])

    def test_a_site_that_does_not_allow_the_job_refuses_with_a_coded_reason_that_everybody_sees(self):
        job = make_job(rounds={"count": 2000, "min_reports": 3, "deadline": "60s"})

        shown = self.federation.wait_job(self.federation.submit(job))

        self.assertEqual(shown["job"]["state"], "JOB_STATE_FAILED")
        refused = shown["rounds"][0]["sites"]
        self.assertEqual({s["reason_code"] for s in refused}, {"ROUNDS_LIMIT"})


class LostSiteTest(unittest.TestCase):
    def setUp(self):
        self.federation = federation.Federation().start()
        self.addCleanup(self.federation.close)

    def test_an_agent_killed_in_a_round_is_excluded_and_joins_the_next_after_its_restart(self):
        job = make_job(training={**slow_training(8000), "metrics": []},
                       rounds={"count": 1000, "min_reports": 3, "deadline": "20s"})
        job_id = self.federation.submit(job)
        self.federation.agents["west"].wait_for("task.taken", round=1)

        self.federation.agents["west"].kill()
        self.federation.coordinator.wait_for("round.published", round=1)
        self.federation.start_agent("west")
        self.federation.coordinator.wait_for("round.published", sites=4)
        federation.run("job", "cancel", job_id, "--as", self.federation.researcher)
        shown = self.federation.wait_job(job_id)

        first, *later = [r for r in shown["rounds"] if r["phase"] == "training"]
        self.assertEqual(states(first)["west"], "SITE_STATE_DROPPED")
        self.assertTrue(first["published"])
        self.assertEqual(sum(s == "SITE_STATE_REPORTED" for s in states(first).values()), 3)
        self.assertIn("SITE_STATE_REPORTED", [states(r).get("west") for r in later])

    def test_a_round_below_quorum_is_abandoned_with_the_reason(self):
        job = make_job(training=slow_training(200000),
                       rounds={"count": 1, "min_reports": 4, "deadline": "20s"})
        job_id = self.federation.submit(job)
        self.federation.agents["west"].wait_for("task.taken", round=1)

        self.federation.agents["west"].kill()
        shown = self.federation.wait_job(job_id)

        self.assertEqual(shown["job"]["state"], "JOB_STATE_FAILED")
        self.assertFalse(shown["rounds"][-1]["published"])
        self.assertIn("west", shown["rounds"][-1]["reason"])

    def test_a_coordinator_killed_in_a_round_goes_on_with_the_job_when_it_is_back(self):
        job = make_job(training=slow_training(40000),
                       rounds={"count": 2, "min_reports": 4, "deadline": "600s"})
        job_id = self.federation.submit(job)
        self.federation.agents["north"].wait_for("task.taken", round=1)

        self.federation.coordinator.kill()
        self.federation.start_coordinator()
        shown = self.federation.wait_job(job_id)

        self.assertEqual(shown["job"]["state"], "JOB_STATE_COMPLETED")

    def test_an_interrupt_drains_and_exits_with_success(self):
        job_id = self.federation.submit(make_job(training=slow_training()))
        self.federation.agents["east"].wait_for("task.taken", round=1)

        self.assertEqual(self.federation.agents["east"].stop(), 0)
        self.assertEqual(self.federation.coordinator.stop(), 0)
        self.assertIn(job_id, self.federation.coordinator.text())
