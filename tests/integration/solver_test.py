"""Solved jobs over synthetic patients: rounds, masks, kills and restarts that need no LibTorch, so any build runs them."""

import unittest

import numpy

import federation
from federation import Federation, make_job

SITES = ("east", "north", "south", "west", "centre")


def make_solved(**changes):
    """A job that ends with the coefficients of all rows in one place."""
    job = make_job(newton={"l2_penalty": 1, "tolerance": 1e-14},
                   rounds={"count": 30, "min_reports": len(SITES), "deadline": "60s", "max_abandoned": 10})
    del job["training"], job["aggregation"]
    job.update(changes)
    return job


class SolvedJobTest(unittest.TestCase):
    def setUp(self):
        self.federation = Federation(SITES, policy={"sums": ["newton"], "min_examples": 1}).start()
        self.addCleanup(self.federation.close)

    def coefficients(self, job_id):
        tensors = federation.load_safetensors(self.federation.pull(job_id) / "model.safetensors")
        return numpy.concatenate([tensors["linear.weight"].ravel(), tensors["linear.bias"].ravel()])

    def test_masks_do_not_move_the_solution_and_everybody_ends_in_order(self):
        masked, shown = self.federation.train(make_solved())
        plain, _ = self.federation.train(make_solved(secure_aggregation={"none": {}}))

        self.assertTrue(all(r["secagg_session"] for r in shown["rounds"]))
        difference = numpy.abs(self.coefficients(masked) - self.coefficients(plain))
        self.assertLess(numpy.max(difference), 1e-9)
        for agent in self.federation.agents.values():
            self.assertEqual(agent.stop(), 0)
        self.assertEqual(self.federation.coordinator.stop(), 0)

    def test_two_jobs_at_a_time_survive_kills_of_a_site_and_of_the_coordinator(self):
        whole, _ = self.federation.train(make_solved())
        jobs = [self.federation.submit(make_solved(name=name)) for name in ("first", "second")]

        self.federation.agents["west"].wait_for("task.taken")
        self.federation.agents["west"].kill()
        self.federation.start_agent("west").wait_for("session.connected")
        self.federation.coordinator.kill()
        self.federation.start_coordinator()

        expected = self.coefficients(whole)
        for job_id in jobs:
            shown = self.federation.wait_job(job_id)
            self.assertEqual(shown["job"]["state"], "JOB_STATE_COMPLETED", shown["job"]["reason"])
            self.assertLess(numpy.max(numpy.abs(self.coefficients(job_id) - expected)), 1e-9)


if __name__ == "__main__":
    unittest.main()
