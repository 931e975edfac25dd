"""Values planted in a site's data never leave it: not in any byte sent, not in any log or file outside its data."""

import base64
import csv
import struct
import unittest

import capture
import federation
from federation import Federation, make_job

CANARIES = [("age", "83.640625"), ("chol", "761.265625"), ("trestbps", "213.890625"), ("thalach", "57.203125")]
SECRET_TEXT = "ZK-PATIENT-4471-DUPONT"


def encodings(text):
    """The forms in which a value would be recognised in a stream of bytes."""
    forms = [text.encode(), text.replace(".", ",").encode(), base64.b64encode(text.encode())[:-3]]
    try:
        value = float(text)
    except ValueError:
        return forms
    for form in ("<f", ">f", "<d", ">d"):
        packed = struct.pack(form, value)
        forms += [packed, packed.hex().encode(), base64.b64encode(packed).rstrip(b"=")[:-1]]
    return forms


def leaks(content):
    """Which canaries occur in these bytes."""
    texts = [value for _, value in CANARIES] + [SECRET_TEXT]
    return [text for text in texts if any(form in content for form in encodings(text))]


class CanaryTest(unittest.TestCase):
    def test_the_search_finds_a_canary_in_every_form(self):
        for form in encodings(CANARIES[0][1]) + encodings(SECRET_TEXT):
            self.assertTrue(leaks(b"\x00\x01" + form + b"\xff"))

    def test_planted_values_occur_in_no_byte_that_the_agent_sends_or_logs(self):
        trial = Federation()
        self.addCleanup(trial.close)
        trial.start_coordinator()
        trial.enrol_researcher()
        for name in trial.site_names:
            trial.enrol_site(name)
            trial.write_site_config(name)
        planted = self.plant(trial)
        proxy = capture.CapturingProxy(trial.root / "coordinator" / "identity", trial.root / "north" / "identity",
                                       int(trial.address.rsplit(":", 1)[1]))
        self.addCleanup(proxy.close)
        trial.write_site_config("north", csv=planted, coordinator=f"127.0.0.1:{proxy.port}")
        for name in trial.site_names:
            trial.start_agent(name)
        for standardization in ("federated", "per_site", "none"):
            job = make_job(rounds={"count": 3, "min_reports": 4, "deadline": "60s"})
            job["data"] = {**job["data"], "standardization": standardization}
            job["training"] = {**job["training"], "batch_size": 1, "local_steps": 200,
                               "optimizer": {"sgd": {"learning_rate": 1e-6}},
                               "metrics": [{"kind": "loss", "split": "train"}, {"kind": "accuracy", "split": "test"}]}
            trial.train(job)
        # A job that the data cannot serve: the reason given must not quote the data either.
        bad = make_job(rounds={"count": 1, "min_reports": 4, "deadline": "60s"})
        bad["data"] = {**bad["data"], "features": bad["data"]["features"] + [{"column": "note", "numeric": {}}]}
        trial.wait_job(trial.submit(bad))
        trial.agents["north"].stop()

        self.assertGreater(len(proxy.sent_by_site), 1000)
        self.assertEqual(leaks(bytes(proxy.sent_by_site)), [])
        self.assertEqual(leaks(trial.agents["north"].text().encode()), [])
        self.assertEqual(leaks(trial.coordinator.text().encode()), [])
        for path in (trial.root / "coordinator").rglob("*"):
            if path.is_file():
                self.assertEqual(leaks(path.read_bytes()), [], path)

    def plant(self, trial):
        source = sorted(trial.data.glob("*.csv"))[0]
        target = trial.root / "planted.csv"
        with source.open(newline="") as old, target.open("w", newline="") as new:
            rows = list(csv.DictReader(old))
            for column, value in CANARIES:
                for split in ("train", "test"):
                    next(r for r in rows if r["split"] == split)[column] = value
            writer = csv.DictWriter(new, [*rows[0].keys(), "note"])
            writer.writeheader()
            writer.writerows({**row, "note": SECRET_TEXT} for row in rows)
        return target


if __name__ == "__main__":
    unittest.main()
