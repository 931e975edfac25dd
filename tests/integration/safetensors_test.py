"""The Python package safetensors reads what `chorale model pull` writes."""

import sys
import unittest

import numpy

import federation
from federation import Federation, make_job

try:
    import safetensors.numpy
except ImportError:
    print("the package of tests/requirements.txt is not installed")
    sys.exit(77)  # ctest: skipped.


class SafetensorsTest(unittest.TestCase):
    def test_the_package_reads_a_pulled_model(self):
        trial = Federation(sites=("north", "east", "south")).start()
        self.addCleanup(trial.close)
        job_id, _ = trial.train(make_job(model={"mlp": {"hidden_units": [4], "activation": "tanh"}}))

        path = trial.pull(job_id) / "model.safetensors"

        read = safetensors.numpy.load_file(path)
        expected = federation.load_safetensors(path)
        self.assertEqual({name: value.shape for name, value in read.items()},
                         {"layers.0.weight": (4, 8), "layers.0.bias": (4,),
                          "layers.1.weight": (1, 4), "layers.1.bias": (1,)})
        for name, value in read.items():
            numpy.testing.assert_array_equal(value, expected[name])
