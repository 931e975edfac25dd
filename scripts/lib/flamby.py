"""FLamby's strategies as jobs, and their scores beside the published ones. Used by examples/*/flamby.

usage: flamby.py prepare heart|tcga TABLE DIR      writes a table for each centre, initial weights and jobs into DIR
       flamby.py table heart|tcga TABLE DIR              scores DIR/models/NAME.safetensors and prints both tables

FLamby (Ogier du Terrail et al. 2022): every strategy starts from the weights that PyTorch draws for a linear layer after
manual_seed(seed), takes 100 steps of stochastic gradient descent at every centre in every round, and weighs centres by
their rows. Inputs of the heart data are standardised by each centre's training rows, indicators too; those of TCGA-BRCA
not at all. The score is the mean over the centres of accuracy at 0.5, or of the concordance index.
"""

import csv
import dataclasses
import json
import pathlib
import sys

import numpy

SEEDS = range(42, 47)


@dataclasses.dataclass
class Strategy:
    name: str
    learning_rate: float
    aggregation: dict
    published: tuple  # Mean and standard deviation over the seeds of the mean of the centres.
    training: dict = dataclasses.field(default_factory=dict)
    is_first_centre_alone: bool = False


@dataclasses.dataclass
class Benchmark:
    title: str
    num_centres: int
    num_rounds: int
    batch_size: int
    inputs: list
    model: dict
    has_bias: bool
    target: dict
    standardization: str
    l2_penalty: float  # Of the solved job.
    num_orders: int    # Of the examples, for each seed; the order alone moves a run on TCGA-BRCA by .03.
    strategies: list


def adaptive(learning_rate):
    return {"weighting": "examples", "learning_rate": learning_rate, "beta1": 0.9, "beta2": 0.999, "tau": 1e-8}


def strategies(rates, published):
    average = {"fedavg": {"weighting": "examples"}}
    return [
        Strategy("FedAvg", rates["avg"], average, published["FedAvg"]),
        Strategy("FedProx", rates["avg"], average, published["FedProx"], {"fedprox": {"mu": rates["mu"]}}),
        Strategy("Scaffold", rates["scaffold"], average, published["Scaffold"], {"scaffold": {}}),
        # In the code behind the published figures the clients' models are copies that are never handed on, and the first
        # client's is scored: that centre alone, in the rounds that were its turn.
        Strategy("Cyclic, as published", rates["cyclic"], average, published["Cyclic"], {}, True),
        Strategy("Cyclic, travelling", rates["cyclic"], {"cyclic": {}}, published["Cyclic"]),
        Strategy("FedAdam", rates["adam"], {"fedadam": adaptive(rates["adam_server"])}, published["FedAdam"]),
        Strategy("FedYogi", rates["yogi"], {"fedyogi": adaptive(rates["adam_server"])}, published["FedYogi"]),
        Strategy("FedAdagrad", rates["adagrad"], {"fedadagrad": {
            k: v for k, v in adaptive(rates["adagrad_server"]).items() if k != "beta2"}}, published["FedAdagrad"]),
    ]


HEART_NUMBERS = ["age", "sex", "trestbps", "chol", "fbs", "thalach", "exang", "oldpeak"]
HEART_LEVELS = {"cp": [2, 3, 4], "restecg": [1, 2]}

BENCHMARKS = {
    "heart": Benchmark(
        title="Fed-Heart-Disease: accuracy, mean of four centres",
        num_centres=4, num_rounds=15, batch_size=4,
        inputs=HEART_NUMBERS + [f"{c}_{level}" for c, levels in HEART_LEVELS.items() for level in levels],
        model={"logistic_regression": {}}, has_bias=True,
        target={"column": "y", "positive": ["1"]}, standardization="per_site", l2_penalty=1, num_orders=1,
        strategies=strategies(
            {"avg": 1e-3, "mu": 0.01, "scaffold": 1e-3, "cyclic": 1e-2, "adam": 1e-2, "yogi": 3.162e-3, "adagrad": 3.162e-3,
             "adam_server": 1e-2, "adagrad_server": 0.316228},
            {"FedAvg": (.6850, .0283), "FedProx": (.6850, .0283), "Scaffold": (.6840, .0280), "Cyclic": (.7180, .0287),
             "FedAdam": (.7255, .0138), "FedYogi": (.7314, .0125), "FedAdagrad": (.7314, .0125)})),
    "tcga": Benchmark(
        title="Fed-TCGA-BRCA: concordance index, mean of six centres",
        num_centres=6, num_rounds=5, batch_size=8,
        inputs=[],  # From the table: the 39 columns behind `split`.
        model={"cox": {"ties": "breslow"}}, has_bias=False,
        target={"column": "E", "positive": ["1"], "survival": {"time_column": "T"}}, standardization="none", l2_penalty=10,
        num_orders=10,
        strategies=strategies(
            {"avg": 0.1, "mu": 0.1, "scaffold": 1e-2, "cyclic": 1e-2, "adam": 1e-2, "yogi": 1e-2, "adagrad": 1e-2,
             "adam_server": 0.1, "adagrad_server": 1.0},
            {"FedAvg": (.7319, .1811), "FedProx": (.7290, .1683), "Scaffold": (.6869, .0360), "Cyclic": (.6582, .0429),
             "FedAdam": (.8152, .0256), "FedYogi": (.8152, .0256), "FedAdagrad": (.8129, .0048)})),
}
NUM_TCGA_INPUTS = 39


# ------------------------------------------------------------------ tables

def read_rows(name, table):
    """(centre, is_training, inputs, target) of each row, and the names of the inputs."""
    with open(table, newline="") as file:
        header, *lines = list(csv.reader(file))
    column = {c: i for i, c in enumerate(header)}
    rows = []
    if name == "tcga":
        first = column["split"] + 1
        inputs = header[first:first + NUM_TCGA_INPUTS]
        for line in lines:
            rows.append((int(line[column["center"]]), line[column["split"]] == "train",
                         [float(v) for v in line[first:first + NUM_TCGA_INPUTS]],
                         [float(line[column["E"]]), float(line[column["T"]])]))
        return inputs, rows
    for line in lines:
        values = [float(line[column[c]]) for c in HEART_NUMBERS]
        for c, levels in HEART_LEVELS.items():
            values += [float(float(line[column[c]]) == level) for level in levels]
        rows.append((int(line[column["center"]]), line[column["split"]] == "train", values,
                     [float(float(line[column["num"]]) > 0)]))
    return BENCHMARKS[name].inputs, rows


def input_names(count):
    """Names without the commas and blanks of the original ones."""
    return [f"x{i}" for i in range(count)]


def initial_weights(seed, num_inputs):
    """What torch.nn.Linear(num_inputs, 1) holds after torch.manual_seed(seed): weight, then bias.

    PyTorch's generator is the MT19937 that NumPy's legacy generator is, seeded alike; a float takes the low 24 bits of
    each output, and the layer's numbers are uniform within 1/sqrt(num_inputs).
    """
    raw = numpy.random.RandomState(seed).randint(0, 2**32, size=num_inputs + 1, dtype=numpy.uint32)
    uniform = (raw & numpy.uint32(2**24 - 1)).astype(numpy.float32) * numpy.float32(2.0**-24)
    bound = numpy.float32(1 / numpy.sqrt(num_inputs))
    return uniform * (2 * bound) - bound


def first_centre_turns(seed, benchmark):
    """How often FLamby's Cyclic trains its first client: the order is a new permutation for every cycle."""
    generator = numpy.random.default_rng(seed)
    turns = 0
    for start in range(0, benchmark.num_rounds, benchmark.num_centres):
        order = generator.permutation(benchmark.num_centres)
        turns += int(numpy.sum(order[:benchmark.num_rounds - start] == 0))
    return turns


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, value in tensors.items():
        content = value.astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def read_safetensors(path):
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    data = content[8 + length:]
    return {name: numpy.frombuffer(data[slice(*entry["data_offsets"])],
                                   {"F32": "<f4", "F64": "<f8"}[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in json.loads(content[8:8 + length]).items() if name != "__metadata__"}


# ------------------------------------------------------------------ jobs

def slug(name):
    return name.lower().replace(",", "").replace(" ", "-")


def job_of(benchmark, num_inputs, name, rounds, body):
    return {
        "name": name, "dataset": "flamby",
        "data": {"features": [{"column": c, "numeric": {}} for c in input_names(num_inputs)],
                 "target": benchmark.target, "standardization": benchmark.standardization},
        "model": benchmark.model,
        "rounds": {"deadline": "60s", "max_abandoned": 2, **rounds},
        # As the published figures: some of the strategies are no sums over sites.
        "secure_aggregation": {"none": {}},
        **body,
    }


def prepare(name, table, directory):
    benchmark = BENCHMARKS[name]
    inputs, rows = read_rows(name, table)
    targets = ["E", "T"] if name == "tcga" else ["y"]
    for folder in ("centres", "initial", "together", "first-centre"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    for centre in range(benchmark.num_centres):
        with open(directory / "centres" / f"centre-{centre}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*input_names(len(inputs)), *targets, "split"])
            for own, is_training, values, target in rows:
                if own == centre:
                    writer.writerow([*map(repr, values), *(int(t) for t in target), "train" if is_training else "test"])
    everyone = {"count": benchmark.num_rounds, "min_reports": benchmark.num_centres}
    for seed in SEEDS:
        weights = initial_weights(seed, len(inputs))
        tensors = {"linear.weight": weights[:-1].reshape(1, -1)}
        if benchmark.has_bias:
            tensors["linear.bias"] = weights[-1:]
        start = directory / "initial" / f"{seed}.safetensors"
        write_safetensors(start, tensors)
        for strategy in benchmark.strategies:
            rounds = everyone
            folder = "together"
            if strategy.is_first_centre_alone:
                folder = "first-centre"
                rounds = {"count": first_centre_turns(seed, benchmark), "min_reports": 1}
                if rounds["count"] == 0:
                    continue  # The model stays as it began.
            elif "cyclic" in strategy.aggregation:
                rounds = {**everyone, "min_reports": 1}
            for order in range(benchmark.num_orders):
                name_of_run = f"{slug(strategy.name)}-{seed}-{order}"
                job = job_of(benchmark, len(inputs), name_of_run, rounds, {
                    "training": {"optimizer": {"sgd": {"learning_rate": strategy.learning_rate}}, "local_steps": 100,
                                 "batch_size": benchmark.batch_size, **strategy.training},
                    "aggregation": strategy.aggregation, "initial_model": {"file": str(start)},
                    "seed": seed + 1000 * order})
                (directory / folder / f"{name_of_run}.yaml").write_text(json.dumps(job, indent=1))
    solved = job_of(benchmark, len(inputs), "solved", {"count": 30, "min_reports": benchmark.num_centres},
                    {"newton": {"l2_penalty": benchmark.l2_penalty}, "seed": 42})
    (directory / "together" / "solved.yaml").write_text(json.dumps(solved, indent=1))


# ------------------------------------------------------------------ scores

def concordance(risks, events, times):
    """Harrell's index, counted as lifelines does."""
    sooner = (events[:, None] > 0) & ((times[:, None] < times[None, :]) |
                                      ((times[:, None] == times[None, :]) & (events[None, :] == 0)))
    numpy.fill_diagonal(sooner, False)
    wins = (risks[:, None] > risks[None, :]) + 0.5 * (risks[:, None] == risks[None, :])
    return float((wins * sooner).sum() / sooner.sum())


def scores(benchmark, rows, tensors):
    """One for each centre."""
    weight = tensors["linear.weight"].astype(float).ravel()
    bias = float(tensors["linear.bias"][0]) if "linear.bias" in tensors else 0.0
    result = []
    for centre in range(benchmark.num_centres):
        train = numpy.array([r[2] for r in rows if r[0] == centre and r[1]])
        test = numpy.array([r[2] for r in rows if r[0] == centre and not r[1]])
        target = numpy.array([r[3] for r in rows if r[0] == centre and not r[1]])
        if benchmark.standardization == "per_site":
            mean, deviation = train.mean(0), train.std(0, ddof=1)
            deviation[deviation == 0] = 1
            test = (test - mean) / deviation
        eta = test @ weight + bias
        if benchmark.has_bias:
            result.append(float(numpy.mean((eta >= 0) == (target[:, 0] > 0))))
        else:
            result.append(concordance(eta, target[:, 0], target[:, 1]))
    return result


def print_table(name, table, directory):
    benchmark = BENCHMARKS[name]
    _, rows = read_rows(name, table)
    models = directory / "models"
    print(f"{benchmark.title}, seeds {SEEDS[0]} to {SEEDS[-1]}: mean (standard deviation over the seeds)\n"
          f"orders of the examples averaged over, for each seed here: {benchmark.num_orders}\n")
    print(f"  {'strategy':<22}{'published':>16}{'here':>16}   within two sd   centres, here")
    outside = []
    for strategy in benchmark.strategies:
        by_seed = []
        for seed in SEEDS:
            paths = [models / f"{slug(strategy.name)}-{seed}-{order}.safetensors" for order in range(benchmark.num_orders)]
            if strategy.is_first_centre_alone and first_centre_turns(seed, benchmark) == 0:
                paths = [directory / "initial" / f"{seed}.safetensors"]
            by_seed.append(numpy.mean([scores(benchmark, rows, read_safetensors(path)) for path in paths], axis=0))
        means = numpy.mean(by_seed, axis=1)
        published, deviation = strategy.published
        is_within = abs(means.mean() - published) <= 2 * deviation
        if not is_within:
            outside.append(strategy.name)
        print(f"  {strategy.name:<22}{published:>7.4f} ({deviation:.4f}){means.mean():>7.4f} ({means.std(ddof=1):.4f})"
              f"   {'yes' if is_within else 'NO':<13}   {' '.join(f'{s:.3f}' for s in numpy.mean(by_seed, axis=0))}")
    solved = scores(benchmark, rows, read_safetensors(models / "solved.safetensors"))
    print(f"  {'solved (newton)':<22}{'-':>16}{numpy.mean(solved):>7.4f}{'':9}   {'-':<13}   "
          f"{' '.join(f'{s:.3f}' for s in solved)}")
    print("\n" + (f"outside: {', '.join(outside)}" if outside else "every strategy within two published standard deviations"))
    return 1 if outside else 0


def main():
    command, name, table, directory = sys.argv[1:]
    if command == "prepare":
        prepare(name, table, pathlib.Path(directory))
        return 0
    return print_table(name, table, pathlib.Path(directory))


if __name__ == "__main__":
    sys.exit(main())
