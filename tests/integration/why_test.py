"""`chorale job why` on real jobs: the whole story, and what to do."""

import json
import unittest

import federation
from federation import Federation, make_job, slow_training

NAMES = ["east", "north", "south", "west"]


class WhyTest(unittest.TestCase):
    def setUp(self):
        self.federation = Federation(NAMES)
        self.addCleanup(self.federation.close)

    def why(self, job_id, *arguments):
        return federation.run("job", "why", job_id, "--as", self.federation.researcher, *arguments)

    def test_a_job_with_a_refusal_a_kill_and_a_restart_tells_all_of_it(self):
        write = self.federation.write_site_config

        def strict_west(name, **changes):
            path = write(name, **changes)
            if name == "west":
                config = json.loads(path.read_text())
                config["policy"]["allow"][0]["max_rounds"] = 1
                path.write_text(json.dumps(config))
            return path

        self.federation.write_site_config = strict_west
        self.federation.start()
        job_id = self.federation.submit(make_job(
            training={**slow_training(20000), "metrics": []},
            rounds={"count": 3, "min_reports": 2, "deadline": "60s", "max_abandoned": 3}))
        self.federation.agents["north"].wait_for("task.taken", round=1)
        self.federation.agents["south"].kill()
        self.federation.coordinator.wait_for("site.disconnected", site="south")
        running = self.why(job_id)
        self.assertIn("It waits for", running)
        self.assertRegex(running, "south: its connection was lost; the round goes on without it in")
        self.federation.coordinator.kill()
        self.federation.start_coordinator()
        self.federation.start_agent("south")
        shown = self.federation.wait_job(job_id)
        self.assertEqual(shown["job"]["state"], "JOB_STATE_COMPLETED", json.dumps(shown, indent=1))

        text = self.why(job_id)
        self.assertRegex(text, r"preparation +west refused.*: ROUNDS_LIMIT")
        self.assertIn("south lost its connection", text)
        self.assertIn("the coordinator started again and went on", text)
        self.assertIn("ask for fewer rounds, or the site for a higher max_rounds", text)
        self.assertIn("see at the site that the agent runs", text)
        self.assertNotIn("It waits for", text)
        story = json.loads(self.why(job_id, "--format", "json"))
        kinds = [entry["kind"].removeprefix("STORY_KIND_") for entry in story["entries"]]
        self.assertEqual((kinds[0], kinds[-1]), ("SUBMITTED", "JOB_COMPLETED"))
        self.assertEqual(kinds.count("COORDINATOR_STARTED"), 1)
        self.assertEqual(kinds.count("ROUND_PUBLISHED"), len([r for r in shown["rounds"] if r["published"]]))
        times = [entry["time"].rstrip("Z") for entry in story["entries"]]
        self.assertEqual(times, sorted(times))
        self.assertIn("west: ROUNDS_LIMIT", " ".join(hint["what"] for hint in story["hints"]))
        self.assertLess(len(text), len(self.why(job_id, "--all")))

    def test_an_undisturbed_job_says_that_nothing_went_wrong(self):
        self.federation.start()
        job_id, _ = self.federation.train(make_job())
        text = self.why(job_id)
        self.assertIn("Nothing went wrong.", text)
        self.assertIn("published with east north south west", text)


if __name__ == "__main__":
    unittest.main()
