"""Secure aggregation between real processes: sums that are those of the survivors, whoever is killed when."""

import csv
import json
import random
import unittest

import federation
from federation import Federation, make_job

NAMES = ["east", "north", "south", "west", "centre", "coast", "hills", "lakes"]


def rows_of(path):
    with open(path, newline="") as file:
        return sum(row["split"] == "train" for row in csv.DictReader(file))


def training_rounds(shown):
    return [r for r in shown["rounds"] if r["phase"] == "training"]


def contributors(record):
    return sorted(s["site"] for s in record["sites"] if s["state"] == "SITE_STATE_REPORTED")


class EightSitesTest(unittest.TestCase):
    def setUp(self):
        self.federation = Federation(NAMES).start()
        self.addCleanup(self.federation.close)

    def rows(self, names):
        files = self.federation.csv_files
        return sum(rows_of(files[NAMES.index(name) % len(files)]) for name in names)

    def test_twenty_rounds_with_kills_publish_the_sums_of_their_survivors(self):
        # t = 5 and N_min = 5 of 8: three may drop out.
        chance = random.Random(20261126)
        job_id = self.federation.submit(make_job(
            training={"optimizer": {"sgd": {"learning_rate": 0.01}}, "local_steps": 8000, "batch_size": 4,
                      "metrics": [{"kind": "loss", "split": "train"}]},
            rounds={"count": 20, "min_reports": 5, "deadline": "120s", "max_abandoned": 3}))
        for number in range(1, 21):
            # Somewhere between the round's first step and its last.
            for _ in range(chance.randint(1, 3)):
                self.federation.agents["east"].wait_for("task.taken", round=number)
            # Three may drop out of eight; who was not back when the round began is no drop-out of it.
            asked = self.federation.show(job_id)["job"].get("current", {}).get("sites", [])
            victims = chance.sample(NAMES[1:], chance.randint(1, 3)) if len(asked) == len(NAMES) else []
            for name in victims:
                self.federation.agents[name].kill()
            for name in victims:
                self.federation.start_agent(name)
            self.federation.coordinator.wait_for("round.published", round=number, phase="training")
        shown = self.federation.wait_job(job_id)

        self.assertEqual(shown["job"]["state"], "JOB_STATE_COMPLETED", shown["job"]["reason"])
        records = training_rounds(shown)
        published = [r for r in records if r["published"]]
        self.assertEqual(len(published), 20)
        dropped = 0
        for record in published:
            survivors = contributors(record)
            self.assertGreaterEqual(len(survivors), 5)
            # An integer that went through the masks: one site more or less in the sum would show.
            self.assertEqual(int(record["num_examples"]), self.rows(survivors), record["round"])
            self.assertTrue(record["secagg_session"])
            dropped += len(NAMES) - len(survivors)
        self.assertGreater(dropped, 10, "the kills hit nobody")

    def test_the_model_is_the_one_that_is_trained_in_the_clear(self):
        masked = self.train({})
        plain = self.train({"none": {}})
        for a, b in zip(masked["values"], plain["values"]):
            # 64-bit numbers scaled for 8 sites and 2^20 rows resolve 1e-9; a parameter is float32.
            self.assertAlmostEqual(a, b, delta=1e-6 * max(1, abs(b)))
        self.assertEqual([r["num_examples"] for r in masked["rounds"]], [r["num_examples"] for r in plain["rounds"]])
        for a, b in zip(masked["rounds"], plain["rounds"]):
            self.assertAlmostEqual(a["metrics"][0]["value"], b["metrics"][0]["value"], delta=1e-6)

    def train(self, secure_aggregation):
        job = make_job(rounds={"count": 5, "min_reports": 8, "deadline": "60s"})
        if secure_aggregation:
            job["secure_aggregation"] = secure_aggregation
        job_id = self.federation.submit(job)
        shown = self.federation.wait_job(job_id)
        self.assertEqual(shown["job"]["state"], "JOB_STATE_COMPLETED", shown["job"]["reason"])
        model = self.federation.pull(job_id)
        manifest = json.loads((model / "manifest.json").read_text())
        self.assertEqual({"secagg_session" in r for r in manifest["rounds"]}, {not secure_aggregation})
        tensors = federation.load_safetensors(model / "model.safetensors")
        values = [float(v) for name in sorted(tensors) for v in tensors[name].ravel()]
        return {"values": values, "rounds": training_rounds(shown)}


class FourSitesTest(unittest.TestCase):
    def start(self, num_sites, **options):
        choir = Federation(NAMES[:num_sites], **options)
        self.addCleanup(choir.close)
        return choir.start()

    def test_a_hundred_and_fifty_rounds_take_two_sessions(self):
        choir = self.start(4)
        job_id = choir.submit(make_job(rounds={"count": 150, "min_reports": 4, "deadline": "60s"}))
        shown = choir.wait_job(job_id)
        self.assertEqual(shown["job"]["state"], "JOB_STATE_COMPLETED", shown["job"]["reason"])
        records = training_rounds(shown)
        self.assertEqual(len(records), 150)
        self.assertEqual({int(r["num_examples"]) for r in records}, {sum(map(rows_of, choir.csv_files))})
        # The preparation round has a number of its own in the first session.
        self.assertEqual(len({r["secagg_session"] for r in shown["rounds"]}), 2)

    def test_a_job_in_the_clear_is_refused_by_a_site_that_does_not_allow_it(self):
        choir = self.start(4, policy={"unmasked": False})
        job_id = choir.submit(make_job(secure_aggregation={"none": {}}))
        shown = choir.wait_job(job_id)
        self.assertEqual(shown["job"]["state"], "JOB_STATE_FAILED")
        self.assertIn("UNMASKED_NOT_ALLOWED", json.dumps(shown))

    def test_two_sites_are_told_that_they_are_too_few(self):
        choir = self.start(2)
        job_id = choir.submit(make_job(rounds={"count": 1, "min_reports": 2, "deadline": "3s"}))
        shown = choir.wait_job(job_id)
        self.assertEqual(shown["job"]["state"], "JOB_STATE_FAILED")
        self.assertIn("2 of 3", shown["job"]["reason"])

    def test_a_number_beyond_its_bound_is_refused_with_what_to_do(self):
        choir = self.start(4)
        job_id = choir.submit(make_job(
            secure_aggregation={"masking": {"max_update": 1e-6}},
            rounds={"count": 1, "min_reports": 3, "deadline": "60s"}))
        shown = choir.wait_job(job_id)
        self.assertEqual(shown["job"]["state"], "JOB_STATE_FAILED")
        text = json.dumps(shown)
        self.assertIn("VALUE_OUT_OF_RANGE", text)
        self.assertIn("max_update", text)


if __name__ == "__main__":
    unittest.main()
