"""One full-batch step a round with equal weights is centralized full-batch descent."""

import csv
import unittest

import numpy

import federation
from federation import Federation, make_job

ROUNDS = 50
LEARNING_RATE = 0.5
COLUMNS = ["age", "sex", "trestbps", "chol", "thalach"]


class EquivalenceTest(unittest.TestCase):
    def test_fifty_rounds_equal_fifty_centralized_steps_to_one_in_a_million(self):
        trial = Federation()
        self.addCleanup(trial.close)
        tables = equal_tables(trial)
        trial.start_coordinator()
        trial.enrol_researcher()
        for name, (path, _, _) in zip(trial.site_names, tables):
            trial.enrol_site(name)
            trial.write_site_config(name, csv=path)
            trial.start_agent(name)
        job = make_job(rounds={"count": ROUNDS, "min_reports": 4, "deadline": "60s"},
                       aggregation={"fedavg": {"weighting": "uniform"}})
        job["data"] = {"features": [{"column": c, "numeric": {}} for c in COLUMNS],
                       "target": {"column": "num", "positive": ["1"]}, "standardization": "none"}
        job["training"] = {"optimizer": {"sgd": {"learning_rate": LEARNING_RATE}}, "local_steps": 1, "batch_size": 0}

        job_id, _ = trial.train(job)

        tensors = federation.load_safetensors(trial.pull(job_id) / "model.safetensors")
        federated = numpy.append(tensors["linear.weight"].ravel(), tensors["linear.bias"]).astype(numpy.float64)
        centralized = descend(numpy.vstack([x for _, x, _ in tables]), numpy.concatenate([y for _, _, y in tables]))
        error = numpy.linalg.norm(federated - centralized) / numpy.linalg.norm(centralized)
        self.assertLess(error, 1e-6)
        self.assertGreater(numpy.linalg.norm(centralized), 0.5)


def equal_tables(trial, num_rows=128):
    """A table for each site, of the same size, with values that float32 holds exactly."""
    generator = numpy.random.default_rng(20)
    tables = []
    for name in trial.site_names:
        x = numpy.round(generator.normal(size=(num_rows, len(COLUMNS))) * 64) / 64
        y = (x @ [1.0, -0.5, 0.25, 0.75, -1.0] + generator.normal(size=num_rows) > 0).astype(int)
        path = trial.root / f"{name}.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*COLUMNS, "num", "split"])
            writer.writerows([*row, label, "train"] for row, label in zip(x, y))
        tables.append((path, x, y))
    return tables


def descend(x, y):
    """Full-batch gradient descent on the mean cross-entropy in double precision; the bias comes last."""
    inputs = numpy.hstack([x, numpy.ones((len(x), 1))])
    weights = numpy.zeros(inputs.shape[1])
    for _ in range(ROUNDS):
        probabilities = 1 / (1 + numpy.exp(-inputs @ weights))
        weights -= LEARNING_RATE * inputs.T @ (probabilities - y) / len(y)
    return weights


if __name__ == "__main__":
    unittest.main()
