"""SIGKILL at named points of a round: the job completes, with the model and the ledger of an undisturbed run.

ctest runs a part; the whole matrix, which takes about ten minutes on two cores with nothing else to do, is run by name:
    run.py --bin build/bin kill_test WholeMatrix

Every job wants the report of every site (min_reports: 4): a round waits for a site that was killed, or is asked again,
so that no model depends on who was killed. With a smaller quorum a round goes on without the site: that is another
model, and secagg_test.py has those rounds.

A private model has other noise each time; what must be equal there is what patients are charged. A round that is asked
again sees the data again and is charged again (docs/privacy.md), which is so where a site was killed that held secrets
of the round. Nothing else may cost more, and no attempt is charged twice.
"""

import hashlib
import itertools
import json
import stat
import threading
import unittest

import federation
from crash_points import StoppableFederation
from federation import make_job
from privacy_test import private_job

NAMES = ["east", "north", "south", "west"]
MODES = ("plain", "masked", "private")
# An agent that is killed here has not been charged for the round that it was asked in.
BEFORE_CHARGE = {"before reserve", "after reserve", "before charge"}
# It was in the midst of training, and had kept how far it was.
TRAINING = {"in the middle of training", "after checkpoint"}
ROUNDS = {"count": 2, "min_reports": 4, "deadline": "60s", "max_abandoned": 8}
# Too large for the databases of either side: payloads are files.
MODEL = {"mlp": {"hidden_units": [256, 128], "activation": "relu"}}


NUMBERS = itertools.count(1)


def job_of(mode):
    if mode == "private":
        # A ledger knows a job by its content, and takes it once.
        return private_job(name=f"private-{next(NUMBERS)}", dataset="heart-private", rounds=ROUNDS, privacy={"spare_rounds": 8})
    job = make_job(model=MODEL, rounds=ROUNDS)
    if mode == "plain":
        job["secure_aggregation"] = {"none": {}}
    return job


class KilledFederation(StoppableFederation):
    """Datasets with and without a budget."""

    def __init__(self):
        super().__init__(NAMES, policy={"datasets": ["heart", "heart-private"]})
        self.undisturbed = {}

    def write_site_config(self, name, **changes):
        path = super().write_site_config(name, **changes)
        config = json.loads(path.read_text())
        private = {**config["datasets"][0], "id": "heart-private", "privacy": {"max_epsilon": 100, "delta": 1e-4}}
        config["datasets"].append(private)
        path.write_text(json.dumps(config))
        return path

    def spent(self, job_id):
        """Site → steps that the job has cost there."""
        steps = {}
        for name in NAMES:
            out = federation.run("site", "budget", "--dir", self.root / name, "--format", "json")
            [dataset] = [d for d in json.loads(out)["datasets"] if d["dataset"] == "heart-private"]
            [job] = [j for j in dataset["jobs"] if j["job_id"] == job_id]
            steps[name] = job["steps_started"]
        return steps

    def digest(self, job_id):
        weights = self.pull(job_id) / "model.safetensors"
        return hashlib.sha256(federation.safetensors_data(weights)).hexdigest()

    def run_undisturbed(self, mode):
        """What comes of a job of this kind when nobody is killed, and which points it passes how often."""
        before = {name: points.counts() for name, points in self.points.items()}
        job_id, shown = self.train(job_of(mode))
        passages = {name: {point: count - before[name].get(point, 0) for point, count in points.counts().items()
                           if "heartbeat" not in point and count > before[name].get(point, 0)}
                    for name, points in self.points.items()}
        outcome = {"passages": passages}
        if mode == "private":
            outcome["spent"] = self.spent(job_id)
        else:
            outcome["digest"] = self.digest(job_id)
        self.undisturbed[mode] = outcome

    def submit_killed(self, mode, name, point, passage, then=None):
        """Submits a job, kills the program when it stands at the point, and starts it again. Then shows the job.

        `then`: a point of its second start, at which it is killed again."""
        self.points[name].stop_at(point, passage)
        submitted = []
        # The submission itself may have to wait for the coordinator to come back.
        submission = threading.Thread(target=lambda: submitted.append(self.submit(job_of(mode))))
        submission.start()
        self.points[name].wait_until_stopped()
        self.start_again(name, stop_at=then)
        if then is not None:
            self.points[name].wait_until_stopped()
            self.start_again(name)
        submission.join(federation.WAIT_SECONDS)
        [job_id] = submitted
        return job_id, self.wait_job(job_id)


class Matrix:
    @classmethod
    def setUpClass(cls):
        cls.federation = KilledFederation().start()
        for mode in MODES:
            cls.federation.run_undisturbed(mode)

    @classmethod
    def tearDownClass(cls):
        cls.federation.close()

    def points_of(self, mode, name):
        return sorted(self.federation.undisturbed[mode]["passages"][name])

    def kill_at(self, mode, name, point, then=None):
        undisturbed = self.federation.undisturbed[mode]
        with self.subTest(mode=mode, program=name, point=point, then=then):
            passages = undisturbed["passages"][name].get(point, 0)
            self.assertGreater(passages, 0, "nobody comes here")
            job_id, shown = self.federation.submit_killed(mode, name, point, passages // 2 + 1, then)
            self.assertEqual(shown["job"]["state"], "JOB_STATE_COMPLETED", shown["job"]["reason"])
            published = [r["round"] for r in shown["rounds"] if r["published"]]
            self.assertEqual(published, sorted(set(published)), "a round was published twice")
            for record in shown["rounds"]:
                self.assertTrue(record["published"] or record["reason"], "asked again, and nobody says why")
                self.assertTrue(record["published"] or name != "coordinator", "the coordinator forgot a round")
            if point in TRAINING and then is None:
                self.assertIn("training.resumed", self.federation.agents[name].text())
            if mode == "private":
                self.check_ledger(name, point, shown, self.federation.spent(job_id), undisturbed["spent"])
            else:
                self.assertEqual(self.federation.digest(job_id), undisturbed["digest"], "another model")

    def check_ledger(self, killed, point, shown, spent, undisturbed):
        # Where keys were still being exchanged, no row had been used.
        exchanging = ("in step advertise keys", "in step share keys", "in step acknowledge shares")
        asked_again = sum(not r["published"] and not r["reason"].startswith(exchanging) for r in shown["rounds"])
        for site in NAMES:
            self.assertGreaterEqual(spent[site], undisturbed[site], site)
            self.assertLessEqual(spent[site], undisturbed[site] + asked_again, site)
        if asked_again and point in BEFORE_CHARGE:
            self.assertEqual(spent[killed], undisturbed[killed], "charged for a round that it did not begin")


class QuickMatrix(Matrix, unittest.TestCase):
    def test_a_coordinator_killed_at_any_point_goes_on_with_the_job(self):
        for point in ("before submission", "after submission", "after cohort", "before answer report",
                      "after answer report", "before publish", "after publish"):
            self.kill_at("plain", "coordinator", point)
        for point in ("before answer advertise keys", "after step acknowledge shares", "after answer report",
                      "after answer unmasking", "before publish"):
            self.kill_at("masked", "coordinator", point)
        self.kill_at("private", "coordinator", "before publish")
        self.kill_at("plain", "coordinator", "after answer report", then="after recovery has read")

    def test_an_agent_killed_at_any_point_takes_part_again(self):
        for name, point in (("east", "in the middle of training"), ("west", "after checkpoint"),
                            ("north", "before update report"), ("south", "after update report"),
                            ("west", "before settling")):
            self.kill_at("plain", name, point)
        for name, point in (("east", "after AdvertiseKeys"), ("north", "in the middle of training"),
                            ("south", "after masked update report"), ("west", "before Unmasking")):
            self.kill_at("masked", name, point)
        for name, point in (("east", "before charge"), ("north", "after charge"), ("south", "before commit")):
            self.kill_at("private", name, point)
        self.kill_at("plain", "west", "after update report", then="before hello")


class WholeMatrix(Matrix, unittest.TestCase):
    def test_every_point_of_the_coordinator(self):
        for mode in MODES:
            for point in self.points_of(mode, "coordinator"):
                self.kill_at(mode, "coordinator", point)

    def test_every_point_of_the_coordinator_and_a_second_time_as_it_starts(self):
        for mode in MODES:
            for point in self.points_of(mode, "coordinator"):
                self.kill_at(mode, "coordinator", point, then="after recovery has read")

    def test_every_point_of_every_agent(self):
        for mode in MODES:
            for point in self.points_of(mode, NAMES[0]):
                for name in NAMES:
                    self.kill_at(mode, name, point)

    def test_every_point_of_an_agent_and_a_second_time_as_it_starts(self):
        for mode in MODES:
            for point in self.points_of(mode, NAMES[0]):
                self.kill_at(mode, NAMES[0], point, then="before hello")


class PointsTest(unittest.TestCase):
    """What makes the matrix worth something, and safe to have in the tree."""

    @classmethod
    def setUpClass(cls):
        cls.federation = KilledFederation().start()

    @classmethod
    def tearDownClass(cls):
        cls.federation.close()

    def test_a_round_has_many_points_in_either_program(self):
        for mode in MODES:
            self.federation.run_undisturbed(mode)
        passed = [self.federation.undisturbed[mode]["passages"] for mode in MODES]
        coordinator = set().union(*(p["coordinator"] for p in passed))
        agent = set().union(*(p["west"] for p in passed))
        self.assertGreaterEqual(len(coordinator), 30)
        self.assertGreaterEqual(len(agent), 30)

    def test_only_their_owner_can_set_points(self):
        for name in self.federation.points:
            mode = (self.federation.root / name / "state" / "crash-points").stat().st_mode
            self.assertEqual(stat.S_IMODE(mode), 0o600)

    def test_the_programs_that_are_shipped_have_none(self):
        for shipped, stoppable in ((federation.Federation.coordinator_program, KilledFederation.coordinator_program),
                                   (federation.Federation.agent_program, KilledFederation.agent_program)):
            self.assertNotIn(b"crash_points", (federation.BIN / shipped).read_bytes())
            self.assertIn(b"crash_points", (federation.BIN / stoppable).read_bytes())


def load_tests(loader, tests, pattern):
    """What runs when nothing is named."""
    return unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in (PointsTest, QuickMatrix))


if __name__ == "__main__":
    unittest.main()
