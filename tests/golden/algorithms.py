#!/usr/bin/env python3
"""Reference trajectories of every server rule: writes algorithms.json beside itself.

Written from the papers, in float64 and without any library, so that it shares nothing with the implementation but
the places where numbers are rounded to float32: what travels or is kept. Each site k has the loss
sum_j a[k][j] / 2 * (w[j] - t[k][j])^2 and takes a few steps of gradient descent on it.

Usage: algorithms.py [--check]    --check: fails unless algorithms.json is what would be written.
"""

import json
import math
import pathlib
import struct
import sys

ROUNDS = 3
LOCAL_STEPS = 2
LOCAL_RATE = 0.1
START = [0.5, -1.0, 2.0]
SITES = [
    {"curvature": [1.0, 2.0, 0.5], "target": [1.0, 0.0, -1.0], "examples": 30, "hostile": False},
    {"curvature": [3.0, 0.5, 1.0], "target": [-1.0, 2.0, 0.5], "examples": 10, "hostile": False},
    {"curvature": [1.5, 1.0, 2.0], "target": [0.25, 1.5, 0.0], "examples": 25, "hostile": False},
    {"curvature": [0.5, 1.5, 1.5], "target": [0.75, 0.5, -0.5], "examples": 5, "hostile": False},
    {"curvature": [1.0, 1.0, 1.0], "target": [0.0, 1.0, 0.25], "examples": 40, "hostile": True},
]
HOSTILE_FACTOR = -40.0


def f32(values):
    """As float32 keeps them."""
    return [struct.unpack("<f", struct.pack("<f", v))[0] for v in values]


def gradient(site, w):
    return [a * (x - t) for a, x, t in zip(site["curvature"], w, site["target"])]


def local_update(site, model, correction):
    w = list(model)
    for _ in range(LOCAL_STEPS):
        w = [x - LOCAL_RATE * (g + d) for x, g, d in zip(w, gradient(site, w), correction)]
    update = [x - m for x, m in zip(w, model)]
    if site["hostile"]:
        update = [HOSTILE_FACTOR * u for u in update]
    return f32(update)


def weights(sites, weighting):
    if weighting == "WEIGHTING_UNIFORM":
        return [1 / len(sites)] * len(sites)
    total = sum(site["examples"] for site in sites)
    return [site["examples"] / total for site in sites]


def mean(updates, shares):
    return [sum(s * u[j] for s, u in zip(shares, updates)) for j in range(len(START))]


# Each rule: (specification, sites, model, state, updates) -> (next model, next state), before rounding.


def fedavg(spec, sites, model, state, updates):
    return [m + d for m, d in zip(model, mean(updates, weights(sites, spec["weighting"])))], None


def fedavgm(spec, sites, model, state, updates):
    delta = mean(updates, weights(sites, spec["weighting"]))
    old = state or [0.0] * len(model)
    m = [spec["momentum"] * o + d for o, d in zip(old, delta)]
    return [x + spec["learning_rate"] * y for x, y in zip(model, m)], m


def adaptive(second_moment):
    def rule(spec, sites, model, state, updates):
        n = len(model)
        delta = mean(updates, weights(sites, spec["weighting"]))
        old_m, old_v = (state[:n], state[n:]) if state else ([0.0] * n, [spec["tau"] ** 2] * n)
        m = [spec["beta1"] * o + (1 - spec["beta1"]) * d for o, d in zip(old_m, delta)]
        v = [second_moment(o, d * d, spec.get("beta2", 0.0)) for o, d in zip(old_v, delta)]
        next_model = [
            x + spec["learning_rate"] * y / (math.sqrt(z) + spec["tau"]) for x, y, z in zip(model, m, v)
        ]
        return next_model, m + v

    return rule


def adam(v, square, beta2):
    return beta2 * v + (1 - beta2) * square


def yogi(v, square, beta2):
    if v == square:
        return v
    return v - (1 - beta2) * square * (1 if v > square else -1)


def adagrad(v, square, _):
    return v + square


def cyclic(spec, sites, model, state, updates):
    return [m + d for m, d in zip(model, updates[0])], None


def median(spec, sites, model, state, updates):
    result = []
    for j, m in enumerate(model):
        column = sorted(u[j] for u in updates)
        half = len(column) // 2
        middle = column[half] if len(column) % 2 else (column[half - 1] + column[half]) / 2
        result.append(m + middle)
    return result, None


def trimmed_mean(spec, sites, model, state, updates):
    cut = math.floor(spec["trimmed_share"] * len(updates) + 1e-9)
    result = []
    for j, m in enumerate(model):
        kept = sorted(u[j] for u in updates)[cut : len(updates) - cut]
        result.append(m + sum(kept) / len(kept))
    return result, None


def multi_krum(spec, sites, model, state, updates):
    n = len(updates)
    neighbours = n - spec["byzantine"] - 2
    selected = spec.get("selected") or neighbours

    def score(i):
        distances = sorted(math.dist(updates[i], updates[j]) ** 2 for j in range(n) if j != i)
        return sum(distances[:neighbours])

    best = sorted(range(n), key=lambda i: (score(i), i))[:selected]
    return [m + sum(updates[i][j] for i in best) / selected for j, m in enumerate(model)], None


def norm_bound(spec, sites, model, state, updates):
    bounded = []
    for u in updates:
        length = math.hypot(*u)
        factor = min(1.0, spec["max_norm"] / length)
        bounded.append([factor * x for x in u])
    return fedavg(spec, sites, model, state, bounded)


RULES = {
    "fedavg": fedavg,
    "fedavgm": fedavgm,
    "fedadam": adaptive(adam),
    "fedyogi": adaptive(yogi),
    "fedadagrad": adaptive(adagrad),
    "cyclic": cyclic,
    "median": median,
    "trimmed_mean": trimmed_mean,
    "multi_krum": multi_krum,
    "norm_bound": norm_bound,
}


def plain_case(name, num_sites, kind, spec):
    cohort = SITES[:num_sites]
    model, state, rounds = f32(START), None, []
    for number in range(ROUNDS):
        sites = [cohort[number % len(cohort)]] if kind == "cyclic" else cohort
        updates = [local_update(site, model, [0.0] * len(model)) for site in sites]
        next_model, next_state = RULES[kind](spec, sites, model, state, updates)
        model = f32(next_model)
        state = f32(next_state) if next_state else None
        rounds.append({"updates": updates, "model": model, "state": state or []})
    return {"name": name, "rule": {kind: spec}, "num_sites": num_sites, "scaffold": False, "rounds": rounds}


def scaffold_case(name, num_sites, cohort_size, weighting):
    """Karimireddy et al. 2020, algorithm 1 with option II; cohort_size is their N."""
    sites = SITES[:num_sites]
    n = len(START)
    model, c = f32(START), [0.0] * n
    variates = [[0.0] * n for _ in sites]
    rounds = []
    for _ in range(ROUNDS):
        payloads = []
        for k, site in enumerate(sites):
            correction = [server - own for server, own in zip(c, variates[k])]
            update = local_update(site, model, correction)
            # c_k+ = c_k - c + (x - y) / (K * rate), and y - x is the update.
            change = f32([-s - u / (LOCAL_STEPS * LOCAL_RATE) for s, u in zip(c, update)])
            variates[k] = [v + d for v, d in zip(variates[k], change)]
            payloads.append(update + change)
        shares = weights(sites, weighting)
        model = f32([m + d for m, d in zip(model, mean([p[:n] for p in payloads], shares))])
        changes = [p[n:] for p in payloads]
        c = f32([old + sum(d[j] for d in changes) / cohort_size for j, old in enumerate(c)])
        rounds.append({"updates": payloads, "model": model, "state": c})
    return {
        "name": name,
        "rule": {"fedavg": {"weighting": weighting}},
        "num_sites": num_sites,
        "scaffold": True,
        "cohort_size": cohort_size,
        "rounds": rounds,
    }


def all_cases():
    examples, uniform = {"weighting": "WEIGHTING_EXAMPLES"}, {"weighting": "WEIGHTING_UNIFORM"}
    yield plain_case("fedavg_examples", 2, "fedavg", examples)
    yield plain_case("fedavg_uniform", 2, "fedavg", uniform)
    yield plain_case("fedavgm", 2, "fedavgm", {**examples, "learning_rate": 0.8, "momentum": 0.9})
    adaptive_spec = {**uniform, "learning_rate": 0.1, "beta1": 0.9, "beta2": 0.99, "tau": 0.01}
    yield plain_case("fedadam", 2, "fedadam", adaptive_spec)
    yield plain_case("fedyogi", 2, "fedyogi", adaptive_spec)
    # A tau above the updates: v falls, which only yogi does by a sum.
    yield plain_case("fedyogi_large_tau", 2, "fedyogi", {**adaptive_spec, "tau": 0.9})
    yield plain_case("fedadagrad", 2, "fedadagrad", {k: v for k, v in adaptive_spec.items() if k != "beta2"})
    yield plain_case("cyclic", 2, "cyclic", {})
    yield plain_case("median_of_four", 4, "median", {})
    yield plain_case("median_of_five", 5, "median", {})
    yield plain_case("trimmed_mean", 5, "trimmed_mean", {"trimmed_share": 0.2})
    yield plain_case("multi_krum", 5, "multi_krum", {"byzantine": 1})
    yield plain_case("multi_krum_selected", 5, "multi_krum", {"byzantine": 1, "selected": 3})
    yield plain_case("norm_bound", 2, "norm_bound", {**examples, "max_norm": 0.5})
    yield scaffold_case("scaffold_uniform", 2, 2, "WEIGHTING_UNIFORM")
    yield scaffold_case("scaffold_examples_of_a_larger_cohort", 2, 4, "WEIGHTING_EXAMPLES")


def lines_of(items):
    return "[\n" + ",\n".join(json.dumps(item) for item in items) + "\n]"


def main():
    head = {
        "local_steps": LOCAL_STEPS,
        "local_rate": LOCAL_RATE,
        "hostile_factor": HOSTILE_FACTOR,
        "start": START,
        "sites": SITES,
    }
    # One case a line.
    text = json.dumps(head)[:-1] + ', "cases": ' + lines_of(all_cases()) + "}\n"
    path = pathlib.Path(__file__).with_suffix(".json")
    if "--check" in sys.argv[1:]:
        if path.read_text() != text:
            sys.exit(f"{path} is not what {pathlib.Path(__file__).name} writes")
    else:
        path.write_text(text)


if __name__ == "__main__":
    main()
