"""Every example runs at reduced size and gives the figures that its README promises."""

import json
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import federation

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
SKIPPED = 77  # What a script says when its data are not here.


class ExamplesTest(unittest.TestCase):
    def run_example(self, name):
        """Job → report of a quick run."""
        out = pathlib.Path(tempfile.mkdtemp(prefix="chorale-example-")) / "out"
        self.addCleanup(shutil.rmtree, out.parent, ignore_errors=True)
        result = subprocess.run([str(EXAMPLES / name / "run"), "--quick", "--out", str(out), "--bin", str(federation.BIN)],
                                capture_output=True, text=True, timeout=500, stdin=subprocess.DEVNULL)
        if result.returncode == SKIPPED:
            self.skipTest(result.stderr.strip())
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return {path.parent.name: json.loads(path.read_text()) for path in (out / "jobs").glob("*/report.json")}

    def value(self, report, arm, measure):
        scores = next(a["pooled_test"] for a in report["arms"] if a["arm"] == arm)
        return scores[measure]["value"]

    def assert_solved_equals_pooled(self, report, measures):
        for measure in measures:
            self.assertAlmostEqual(self.value(report, "federated", measure), self.value(report, "centralized", measure),
                                   delta=1e-6)

    def test_synthetic(self):
        report = self.run_example("synthetic")["job"]
        self.assertEqual(len(report["sites"]), 4)
        self.assertGreater(self.value(report, "federated", "auroc"), 0.75)
        self.assertTrue(report["run"]["is_published_model"])

    def test_heart_disease(self):
        reports = self.run_example("heart_disease")
        self.assertGreaterEqual(self.value(reports["job"], "federated", "accuracy"), 0.78)
        self.assertGreaterEqual(self.value(reports["job"], "federated", "auroc"), 0.86)
        self.assert_solved_equals_pooled(reports["job-newton"], ["accuracy", "auroc", "log_loss"])

    def test_stroke(self):
        reports = self.run_example("stroke")
        self.assertEqual(len(reports["job"]["sites"]), 6)
        self.assertAlmostEqual(self.value(reports["job"], "federated", "auroc"), 0.8028, delta=0.0002)
        self.assert_solved_equals_pooled(reports["job"], ["accuracy", "auroc", "log_loss"])
        self.assertGreater(self.value(reports["job-fedavg"], "federated", "auroc"), 0.79)

    def test_breast_cancer_survival(self):
        reports = self.run_example("breast_cancer_survival")
        self.assertAlmostEqual(self.value(reports["job"], "federated", "c_index"), 0.8341, delta=5e-5)
        self.assertAlmostEqual(self.value(reports["job-ridge"], "federated", "c_index"), 0.8630, delta=5e-5)
        self.assertEqual(reports["job"]["target"], "survival")
        self.assertGreater(self.value(reports["job-gradient"], "federated", "c_index"), 0.75)

    def test_chest_xray(self):
        report = self.run_example("chest_xray")["job"]
        self.assertEqual(len(report["sites"]), 5)
        # An eighth of the images and a fifth of the rounds: it learns, no more is promised.
        self.assertGreater(self.value(report, "federated", "auroc"), 0.7)


if __name__ == "__main__":
    unittest.main()
