"""Private jobs between real processes: what they cost, what they may not cost, and what a kill costs."""

import csv
import json
import unittest

import numpy

import federation
from federation import CommandFailed, Federation, load_safetensors, make_job

NAMES = ["east", "north", "south", "west"]
RANGES = {"age": (30, 80), "sex": (0, 1), "trestbps": (90, 180), "chol": (100, 400), "thalach": (70, 200)}


def private_job(count=5, privacy=None, **changes):
    features = []
    for feature in federation.FEATURES:
        feature = json.loads(json.dumps(feature))
        if "numeric" in feature:
            low, high = RANGES[feature["column"]]
            feature["numeric"] = {"range": {"low": low, "high": high}}
        features.append(feature)
    job = make_job(
        data={"features": features, "target": {"column": "num", "positive": ["1", "2", "3", "4"]},
              "standardization": "range"},
        training={"optimizer": {"sgd": {"learning_rate": 0.5}}, "local_steps": 1},
        aggregation={"fedavg": {"weighting": "uniform"}},
        rounds={"count": count, "min_reports": 3, "deadline": "60s", "max_abandoned": 3},
        privacy={"target_epsilon": 1.0, "target_delta": 1e-4, "sample_rate": 0.25, "max_grad_norm": 1.0,
                 "expected_patients": 600, "distributed": {}, **(privacy or {})})
    job.update(changes)
    return job


def prepared_job(**changes):
    """As private_job, standardised by means and deviations that are told with noise."""
    job = private_job(**changes)
    job["data"]["standardization"] = "federated_private"
    return job


METRICS = {"kinds": ["loss", "accuracy", "auroc"], "split": "train"}


class BudgetTest(unittest.TestCase):
    def setUp(self):
        self.federation = Federation(NAMES, policy={"metrics": ["loss", "accuracy", "auroc"]})
        self.addCleanup(self.federation.close)
        self.federation.give_budgets(max_epsilon=1.2)
        self.federation.start()

    def budget(self, name):
        out = federation.run("site", "budget", "--dir", self.federation.root / name, "--format", "json")
        return json.loads(out)["datasets"][0]

    def test_a_private_job_trains_and_every_site_is_charged_for_its_steps(self):
        job_id, shown = self.federation.train(private_job())

        for record in shown["rounds"]:
            self.assertTrue(record["published"])
            self.assertTrue(record["secagg_session"])
            # Neither how many rows there are, nor how the model does on them, has left a site.
            self.assertEqual((record["num_examples"], record["metrics"]), ("0", []))
        spec_noise = json.loads((self.federation.pull(job_id) / "manifest.json").read_text())["privacy"]
        self.assertEqual(spec_noise["steps"], 5)
        self.assertLessEqual(spec_noise["epsilon"], 1)
        self.assertEqual(spec_noise["delta"], 1e-4)
        self.assertEqual(spec_noise["privacy_unit"], "patient")
        for name in NAMES:
            budget = self.budget(name)
            self.assertEqual(budget["jobs"][0]["steps_started"], 5, budget)
            self.assertEqual(budget["jobs"][0]["steps_reserved"], 6, budget)  # One spare round.
            self.assertLess(0, budget["epsilon_spent"])
            self.assertLessEqual(budget["epsilon_spent"], 1)
        text = federation.run("job", "show", job_id, "--as", self.federation.researcher)
        self.assertIn("per patient, neighbours by add-remove, sampling poisson, accountant rdp", text)

    def test_metrics_are_charged_beside_the_steps_of_the_last_round(self):
        job_id, shown = self.federation.train(private_job(privacy={"metrics": METRICS}))

        self.assertEqual([len(record["metrics"]) > 0 for record in shown["rounds"][:-1]], [False] * 4)
        for record in shown["rounds"]:
            self.assertEqual(record["num_examples"], "0")
        spent = json.loads((self.federation.pull(job_id) / "manifest.json").read_text())["privacy"]
        self.assertEqual((spent["steps"], spent["metrics"]["sums"]), (5, 1))
        self.assertLessEqual(spent["epsilon"], 1)
        self.assertIn("5 steps and 1 sum of metrics", spent["holds_for"])
        for name in NAMES:
            budget = self.budget(name)
            self.assertEqual(budget["jobs"][0]["steps_started"], 5 + 1, budget)
            self.assertEqual(budget["jobs"][0]["steps_reserved"], 6 + 2, budget)  # One spare round.
            self.assertLessEqual(budget["epsilon_spent"], 1)

    def test_a_noisy_preparation_is_charged_beside_the_steps(self):
        job_id, shown = self.federation.train(prepared_job(privacy={"preparation": {"epsilon_share": 0.5}}))

        self.assertEqual([record["phase"] for record in shown["rounds"]], ["preparation"] + ["training"] * 5)
        for record in shown["rounds"]:
            self.assertEqual((record["published"], record["num_examples"]), (True, "0"))
        manifest = json.loads((self.federation.pull(job_id) / "manifest.json").read_text())
        spent = manifest["privacy"]
        self.assertEqual((spent["steps"], spent["preparation"]["sums"]), (5, 1))
        self.assertLessEqual(spent["epsilon"], 1)
        self.assertIn("5 steps and 1 preparation", spent["holds_for"])
        self.assertEqual(spent["sampling"], "poisson (none for preparations)")
        for moments, column in zip(manifest["standardization"], RANGES):
            low, high = RANGES[column]
            self.assertTrue(low <= moments["mean"] <= high, moments)
            self.assertTrue(0 < moments["standard_deviation"] <= (high - low) / 2, moments)
        for name in NAMES:
            budget = self.budget(name)
            self.assertEqual(budget["jobs"][0]["steps_started"], 5 + 1, budget)
            self.assertEqual(budget["jobs"][0]["steps_reserved"], 6 + 2, budget)  # Of either, one is spare.
            self.assertLessEqual(budget["epsilon_spent"], 1)

    def test_a_job_beyond_the_budget_is_refused_before_anything_is_computed(self):
        self.federation.train(private_job())
        spent = {name: self.budget(name)["epsilon_spent"] for name in NAMES}

        job_id = self.federation.submit(private_job(name="once-more"))
        shown = self.federation.wait_job(job_id)

        self.assertEqual(shown["job"]["state"], "JOB_STATE_FAILED")
        self.assertIn("BUDGET_EXCEEDED", json.dumps(shown))
        for name in NAMES:
            self.assertEqual(self.budget(name)["epsilon_spent"], spent[name])
            # The site's own log tells the noise that would fit.
            self.assertIn("noise_multiplier", self.federation.agents[name].text())

    def test_what_a_job_did_not_use_is_free_again_when_it_ends_also_where_the_site_was_away(self):
        job_id = self.federation.submit(private_job(count=1000, privacy={"target_epsilon": 1.1}))
        self.federation.coordinator.wait_for("round.published", round=1, phase="training")
        held = {name: self.budget(name)["epsilon_reserved"] for name in NAMES}

        self.federation.agents["west"].kill()
        federation.run("job", "cancel", job_id, "--as", self.federation.researcher)
        self.federation.wait_job(job_id)
        for name in ("east", "north", "south"):
            self.federation.agents[name].wait_for("budget.released", job=job_id)
        self.assertEqual(self.budget("west")["epsilon_reserved"], held["west"])
        self.federation.start_agent("west").wait_for("budget.released", job=job_id)

        for name in NAMES:
            budget = self.budget(name)
            self.assertEqual(budget["jobs"][0]["state"], "over")
            self.assertLess(0, budget["epsilon_spent"])
            self.assertEqual(budget["epsilon_reserved"], budget["epsilon_spent"])
            self.assertLess(budget["epsilon_reserved"], held[name])

    def test_a_job_without_privacy_is_refused(self):
        job_id = self.federation.submit(make_job())
        shown = self.federation.wait_job(job_id)

        self.assertEqual(shown["job"]["state"], "JOB_STATE_FAILED")
        self.assertIn("PRIVACY_REQUIRED", json.dumps(shown))

    def test_a_site_that_is_killed_keeps_what_was_charged_and_takes_part_again(self):
        job_id = self.federation.submit(private_job(count=40, privacy={"target_epsilon": 1.1}))
        self.federation.coordinator.wait_for("round.published", round=1, phase="training")
        for _ in range(3):
            # It has taken part, again after each kill.
            self.federation.agents["west"].wait_for("report.acknowledged")
            self.federation.agents["west"].kill()
            before = self.budget("west")["jobs"][0]["steps_started"]
            self.federation.start_agent("west").wait_for("session.connected")
            self.assertGreaterEqual(self.budget("west")["jobs"][0]["steps_started"], before)
        self.federation.agents["west"].wait_for("report.acknowledged")
        shown = self.federation.wait_job(job_id)

        self.assertEqual(shown["job"]["state"], "JOB_STATE_COMPLETED", shown["job"]["reason"])
        reported = sum(federation.states(r).get("west") == "SITE_STATE_REPORTED" for r in shown["rounds"])
        self.assertGreater(reported, 10)
        # Every report that counted was charged for; a kill may have cost more, never less.
        self.assertGreaterEqual(self.budget("west")["jobs"][0]["steps_started"], reported)
        for name in NAMES:
            self.assertLessEqual(self.budget(name)["epsilon_spent"], 1.1)


class PlacesOfNoiseTest(unittest.TestCase):
    """Without a budget: no ledger, but the noise all the same."""

    def setUp(self):
        self.federation = Federation(NAMES, policy={"metrics": ["loss", "accuracy", "auroc"]}).start()
        self.addCleanup(self.federation.close)

    def values(self, job):
        job_id, _ = self.federation.train(job)
        tensors = load_safetensors(self.federation.pull(job_id) / "model.safetensors")
        return [float(v) for name in sorted(tensors) for v in tensors[name].ravel()]

    def test_the_same_job_gives_other_noise_each_time(self):
        self.assertNotEqual(self.values(private_job()), self.values(private_job()))

    def test_all_the_noise_at_every_site_holds_without_the_others(self):
        job = private_job(count=3, training={"optimizer": {"adam": {"learning_rate": 0.05}}, "local_steps": 20})
        del job["privacy"]["distributed"]
        job["privacy"]["local"] = {}
        job["privacy"]["expected_patients"] = 150
        self.assertTrue(all(abs(v) < 10 for v in self.values(job)))

    def test_both_encodings_and_both_clippings_train(self):
        for privacy in ({"encoding": "fast"}, {"encoding": "fast", "grad_sample_mode": "bk", "clipping": "per_layer"},
                        {"clipping": "automatic", "privacy_unit": "record"}):
            self.assertTrue(self.values(private_job(count=2, privacy=privacy)))

    def test_clipping_that_adapts_follows_the_gradients_and_ends_with_the_job(self):
        for encoding in ("verified", "fast"):
            # So large an epsilon leaves so little noise that the votes themselves show; so small a learning rate leaves
            # the gradients as they are.
            job = private_job(count=4, privacy={
                "target_epsilon": 900, "sample_rate": 1, "expected_patients": 486, "encoding": encoding,
                "clipping": "adaptive", "adaptive_clipping": {"initial_norm": 0.3, "count_stddev": 1}})
            job["training"]["optimizer"] = {"sgd": {"learning_rate": 1e-12}}
            job_id, shown = self.federation.train(job)
            model = self.federation.pull(job_id)
            norms = [record["clipping_norm"] for record in json.loads((model / "manifest.json").read_text())["rounds"]]
            self.assertEqual(norms, [record["clipping_norm"] for record in shown["rounds"]])
            self.assertEqual(len(norms), 4)
            self.assertEqual(norms[0], 0.3)

            values = load_safetensors(model / "model.safetensors")
            flat = {name: value.ravel().astype(float) for name, value in values.items()}
            parameters = numpy.append(next(v for name, v in flat.items() if name.endswith("weight")),
                                      next(v for name, v in flat.items() if name.endswith("bias")))
            lengths = self.gradient_norms(parameters)
            for norm, after in zip(norms, norms[1:]):
                votes = numpy.clip(8 * (1 - lengths / norm), -1, 1).sum()
                unclipped = min(max(0.5 + votes / (2 * 486), 0), 1)
                expected = norm * numpy.exp(-0.2 * (unclipped - 0.5))
                # Four shares of a half each: 6 deviations of a patient and a half.
                self.assertAlmostEqual(after / expected, 1, delta=0.2 * 6 * 1.5 / 486)
                self.assertGreater(after, norm)  # Most gradients are longer than 0.3.
            text = federation.run("job", "show", job_id, "--as", self.federation.researcher)
            self.assertIn("clipping norm 0.3", text)

    def gradient_norms(self, parameters):
        norms = []
        for path in self.federation.csv_files:
            with open(path, newline="") as file:
                for row in csv.DictReader(file):
                    if row["split"] == "train":
                        norms.append(numpy.linalg.norm(self.clipped_gradient(row, parameters, 1e9)))
        return numpy.array(norms)

    def test_a_step_is_that_of_the_clipped_gradients_of_all_patients(self):
        # So large an epsilon leaves so little noise that the sum itself shows.
        privacy = {"target_epsilon": 900, "sample_rate": 1, "max_grad_norm": 0.8}
        rate, patients = 0.5, 600

        def tensors(learning_rate):
            job = private_job(count=1, privacy=privacy)
            job["training"]["optimizer"] = {"sgd": {"learning_rate": learning_rate}}
            job_id, _ = self.federation.train(job)
            model = self.federation.pull(job_id)
            noise = json.loads((model / "manifest.json").read_text())["privacy"]["noise_multiplier"]
            values = load_safetensors(model / "model.safetensors")
            flat = {name: value.ravel().astype(float) for name, value in values.items()}
            weight = next(v for name, v in flat.items() if name.endswith("weight"))
            bias = next(v for name, v in flat.items() if name.endswith("bias"))
            return numpy.append(weight, bias), noise

        start, _ = tensors(1e-12)
        after, noise = tensors(rate)
        total = numpy.zeros_like(start)
        for path in self.federation.csv_files:
            with open(path, newline="") as file:
                for row in csv.DictReader(file):
                    if row["split"] == "train":
                        total += self.clipped_gradient(row, start, privacy["max_grad_norm"])
        expected = start - rate * total / patients
        # Four shares of a half each; and each patient is clipped a little below the bound.
        deviation = noise * privacy["max_grad_norm"] * 2 ** 0.5
        tolerance = rate / patients * (8 * deviation + 0.001 * 600)
        numpy.testing.assert_allclose(after, expected, rtol=0, atol=tolerance)
        self.assertGreater(numpy.abs(expected - start).max(), 20 * tolerance)

    def test_the_sum_has_a_share_of_noise_from_every_site(self):
        # With every patient in every step, two runs of one job differ by their noise alone.
        rate, privacy = 1.0, {"sample_rate": 1, "max_grad_norm": 1.0}

        def run():
            job = private_job(count=1, privacy=privacy, model={"mlp": {"hidden_units": [256], "activation": "relu"}})
            job["training"]["optimizer"] = {"sgd": {"learning_rate": rate}}
            job_id, _ = self.federation.train(job)
            model = self.federation.pull(job_id)
            noise = json.loads((model / "manifest.json").read_text())["privacy"]["noise_multiplier"]
            tensors = load_safetensors(model / "model.safetensors")
            return numpy.concatenate([tensors[n].ravel().astype(float) for n in sorted(tensors)]), noise

        (one, noise), (other, _) = run(), run()
        # Four sites; any revealed sum has three, one of which may be a colluder: each adds a half.
        expected = 2 * (4 / 2) * (noise * rate / 600) ** 2
        measured = numpy.mean((one - other) ** 2)
        # 2,561 numbers: the relative deviation of the estimate is 2.8 %; beyond 6 of them once in 10^8.
        self.assertGreater(one.size, 2000)
        self.assertAlmostEqual(measured / expected, 1, delta=6 * (2 / one.size) ** 0.5)

    def test_metrics_are_those_of_all_patients_and_noise(self):
        # So large an epsilon leaves so little noise that the metrics themselves show.
        first = private_job(count=10, privacy={"target_epsilon": 900})
        first["training"]["optimizer"] = {"sgd": {"learning_rate": 2}}
        job_id, _ = self.federation.train(first)
        start = self.federation.pull(job_id) / "model.safetensors"
        for placement in ("distributed", "local"):
            job = private_job(count=3, privacy={"target_epsilon": 900, "metrics": {**METRICS, "every_rounds": 2}})
            del job["privacy"]["distributed"]
            job["privacy"][placement] = {}
            job["training"]["optimizer"] = {"sgd": {"learning_rate": 1e-12}}
            job["initial_model"] = {"file": str(start)}
            job_id, shown = self.federation.train(job)

            self.assertEqual([len(record["metrics"]) for record in shown["rounds"]], [3, 0, 3])
            values = load_safetensors(self.federation.pull(job_id) / "model.safetensors")
            flat = {name: value.ravel().astype(float) for name, value in values.items()}
            parameters = numpy.append(next(v for name, v in flat.items() if name.endswith("weight")),
                                      next(v for name, v in flat.items() if name.endswith("bias")))
            scores, targets = self.scores(parameters)
            expected = {
                "METRIC_KIND_LOSS": numpy.mean(-numpy.log(numpy.where(targets, scores, 1 - scores))),
                "METRIC_KIND_ACCURACY": numpy.mean((scores >= 0.5) == targets),
                "METRIC_KIND_AUROC": numpy.mean([(a > b) + (a == b) / 2 for a in numpy.floor(20 * scores[targets])
                                                 for b in numpy.floor(20 * scores[~targets])])}
            self.assertGreater(expected["METRIC_KIND_AUROC"], 0.65)  # Or a constant would do.
            for metric in shown["rounds"][-1]["metrics"]:
                self.assertAlmostEqual(metric["value"], expected[metric["kind"]], delta=0.02, msg=metric)
                self.assertAlmostEqual(int(metric["num_examples"]), len(targets), delta=5)

    def test_a_preparation_tells_means_and_deviations_of_all_patients_and_noise(self):
        # So large an epsilon leaves so little noise that the moments themselves show.
        values = {column: [] for column in RANGES}
        for path in self.federation.csv_files:
            with open(path, newline="") as file:
                for row in csv.DictReader(file):
                    if row["split"] == "train":
                        for column, of_column in values.items():
                            of_column.append(numpy.clip(float(row[column]), *RANGES[column]))
        for placement in ("distributed", "local"):
            job = prepared_job(count=1, privacy={"target_epsilon": 900})
            del job["privacy"]["distributed"]
            job["privacy"][placement] = {}
            job_id, _ = self.federation.train(job)

            manifest = json.loads((self.federation.pull(job_id) / "manifest.json").read_text())
            self.assertEqual(len(manifest["standardization"]), len(RANGES))
            for moments, (column, of_column) in zip(manifest["standardization"], values.items()):
                half = (RANGES[column][1] - RANGES[column][0]) / 2
                self.assertAlmostEqual(moments["mean"], numpy.mean(of_column), delta=0.02 * half, msg=column)
                self.assertAlmostEqual(moments["standard_deviation"], numpy.std(of_column), delta=0.02 * half,
                                       msg=column)
            # `chorale job show` has them too.
            text = federation.run("job", "show", job_id, "--as", self.federation.researcher)
            self.assertIn("columns over all sites", text)

    def scores(self, parameters):
        scores, targets = [], []
        for path in self.federation.csv_files:
            with open(path, newline="") as file:
                for row in csv.DictReader(file):
                    if row["split"] == "train":
                        scores.append(1 / (1 + numpy.exp(-self.inputs(row) @ parameters)))
                        targets.append(float(row["num"]) > 0)
        return numpy.array(scores), numpy.array(targets)

    def inputs(self, row):
        x = []
        for feature in federation.FEATURES:
            value = row[feature["column"]]
            if "categorical" in feature:
                x += [float(float(value) == float(level)) for level in feature["categorical"]["levels"][1:]]
            else:
                low, high = RANGES[feature["column"]]
                x.append(2 * (min(max(float(value), low), high) - low) / (high - low) - 1)
        return numpy.array(x + [1.0])

    def clipped_gradient(self, row, parameters, bound):
        x = self.inputs(row)
        gradient = (1 / (1 + numpy.exp(-x @ parameters)) - (float(row["num"]) > 0)) * x
        return gradient * min(1, bound / numpy.linalg.norm(gradient))

    def test_a_private_job_that_asks_for_a_metric_is_refused_at_once(self):
        job = private_job()
        job["training"]["metrics"] = [{"kind": "loss", "split": "train"}]
        with self.assertRaisesRegex(CommandFailed, "computed from rows"):
            self.federation.submit(job)


class PolicyTest(unittest.TestCase):
    def test_a_site_that_does_not_allow_a_metric_refuses_the_job(self):
        bed = Federation(NAMES).start()  # Their rule has loss and accuracy alone.
        self.addCleanup(bed.close)
        shown = bed.wait_job(bed.submit(private_job(privacy={"metrics": METRICS})))
        self.assertEqual(shown["job"]["state"], "JOB_STATE_FAILED")
        self.assertIn("METRIC_NOT_ALLOWED", json.dumps(shown))


if __name__ == "__main__":
    unittest.main()
