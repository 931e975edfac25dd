"""A rolling upgrade under a running job: every program is drained and replaced by one of a later minor version."""

import hashlib
import json
import unittest

import federation
from federation import Federation, make_job, slow_training

NAMES = ["east", "north", "south", "west"]
NEXT = "0.99.0"  # tests/next_minor/version.cc.


class RollingUpgradeTest(unittest.TestCase):
    def setUp(self):
        self.federation = Federation(NAMES)
        self.addCleanup(self.federation.close)
        self.federation.start()

    def digest(self, job_id):
        weights = self.federation.pull(job_id) / "model.safetensors"
        return hashlib.sha256(federation.safetensors_data(weights)).hexdigest()

    def versions(self):
        """Of the agents, as the coordinator knows them."""
        listed = json.loads(federation.run("coordinator", "sites", "--as", self.federation.researcher, "--format", "json"))
        return {site["site"]: site["agent_version"] for site in listed["sites"]}

    def replace(self, process, program_attribute, program, start):
        """Drains a program and starts a later one in its place."""
        self.assertEqual(process.stop(), 0)
        setattr(self.federation, program_attribute, program)
        start()

    def check(self, **changes):
        # With all sites in every round, no model depends on who was away when.
        job = make_job(training={**slow_training(3000), "metrics": []},
                       rounds={"count": 10, "min_reports": 4, "deadline": "60s", "max_abandoned": 20}, **changes)
        undisturbed, _ = self.federation.train(job)
        self.assertNotIn(NEXT, self.versions().values())

        job_id = self.federation.submit(job)
        coordinator = self.federation.coordinator
        coordinator.wait_for("round.published", round=2, phase="training")
        self.replace(coordinator, "coordinator_program", "chorale-coordinator-next", self.federation.start_coordinator)
        for number, name in enumerate(NAMES, start=4):
            # Agents of both versions share the rounds between.
            self.federation.coordinator.wait_for("round.published", round=number, phase="training")
            self.replace(self.federation.agents[name], "agent_program", "chorale-site-agent-next",
                         lambda name=name: self.federation.start_agent(name).wait_for("session.connected"))
        shown = self.federation.wait_job(job_id)

        self.assertEqual(shown["job"]["state"], "JOB_STATE_COMPLETED", shown["job"]["reason"])
        published = [r["round"] for r in shown["rounds"] if r["published"] and r["phase"] == "training"]
        self.assertEqual(published, list(range(1, 11)))
        self.assertEqual(self.versions(), dict.fromkeys(NAMES, NEXT))
        self.assertEqual(self.digest(job_id), self.digest(undisturbed))

    def test_a_masked_job_ends_with_the_model_of_an_undisturbed_one(self):
        self.check()

    def test_a_job_in_the_clear_ends_with_the_model_of_an_undisturbed_one(self):
        self.check(secure_aggregation={"none": {}})


if __name__ == "__main__":
    unittest.main()
