#!/usr/bin/env python3
"""Reference trajectories of what sites do besides descent: writes local_algorithms.json beside itself.

FedProx, SCAFFOLD, FedBN and personalization over two sites and three rounds, in float64, without any library and with
gradients worked out by hand. The model is batch norm and then a line, y = w . (g * h + s) + b with h the normalised
inputs; the loss is the mean of squared errors over all rows of a site. Since the norm stands first, h is the same in every
step. The server takes the mean of the updates.

Usage: local_algorithms.py [--check]    --check: fails unless local_algorithms.json is what would be written.
"""

import json
import math
import pathlib
import sys

ROUNDS = 3
LOCAL_STEPS = 4
RATE = 0.05
EPSILON, MOMENTUM = 1e-5, 0.1  # Of batch norm.
SITES = [
    {"inputs": [[1.0, -2.0], [0.5, 0.0], [-1.5, 1.0], [2.0, 3.0]], "targets": [1.0, 0.5, -1.0, 2.0]},
    {"inputs": [[4.0, 1.0], [6.0, -1.0], [5.0, 0.5]], "targets": [0.0, -2.0, 1.5]},
]
# Places in the flat vector: g [2], s [2], running mean [2], running variance [2], w [2], b.
G, S, MEAN, VARIANCE, W, B = [0, 1], [2, 3], [4, 5], [6, 7], [8, 9], 10
SIZE = 11
NORM = G + S + MEAN + VARIANCE
TRAINED = G + S + W + [B]
START = [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.5, -0.25, 0.125]


def moments(site, j):
    """Mean, and the variances with n and with n - 1."""
    column = [row[j] for row in site["inputs"]]
    mean = sum(column) / len(column)
    squares = sum((x - mean) ** 2 for x in column)
    return mean, squares / len(column), squares / (len(column) - 1)


def gradient(site, p):
    n = len(site["targets"])
    h = []
    for row in site["inputs"]:
        h.append([(row[j] - moments(site, j)[0]) / math.sqrt(moments(site, j)[1] + EPSILON) for j in range(2)])
    result = [0.0] * SIZE
    for row, target in zip(h, site["targets"]):
        z = [p[G[j]] * row[j] + p[S[j]] for j in range(2)]
        slope = 2 * (sum(p[W[j]] * z[j] for j in range(2)) + p[B] - target) / n
        for j in range(2):
            result[G[j]] += slope * p[W[j]] * row[j]
            result[S[j]] += slope * p[W[j]]
            result[W[j]] += slope * z[j]
        result[B] += slope
    return result


def train(site, start, mu=0.0, correction=None, steps=LOCAL_STEPS):
    p = list(start)
    for _ in range(steps):
        slopes = gradient(site, p)
        for j in range(2):
            mean, _, variance = moments(site, j)
            p[MEAN[j]] += MOMENTUM * (mean - p[MEAN[j]])
            p[VARIANCE[j]] += MOMENTUM * (variance - p[VARIANCE[j]])
        for i in TRAINED:
            pull = mu * (p[i] - start[i]) + (correction[i] if correction else 0.0)
            p[i] -= RATE * (slopes[i] + pull)
    return [end - begin for end, begin in zip(p, start)]


def average(model, updates):
    return [m + sum(u[i] for u in updates) / len(updates) for i, m in enumerate(model)]


def fedprox(mu):
    model, rounds = list(START), []
    for _ in range(ROUNDS):
        updates = [train(site, model, mu=mu) for site in SITES]
        model = average(model, updates)
        rounds.append({"updates": updates, "model": model})
    return {"name": "fedprox", "mu": mu, "rounds": rounds}


def scaffold():
    """Karimireddy et al. 2020, algorithm 1 with option II."""
    model, c, rounds = list(START), [0.0] * SIZE, []
    own = [[0.0] * SIZE for _ in SITES]
    for _ in range(ROUNDS):
        updates, changes = [], []
        for k, site in enumerate(SITES):
            update = train(site, model, correction=[a - b for a, b in zip(c, own[k])])
            updates.append(update)
            # Running values of batch norm have no gradient, and so no control variate.
            changes.append([-a - u / (LOCAL_STEPS * RATE) if i in TRAINED else 0.0
                            for i, (a, u) in enumerate(zip(c, update))])
        model = average(model, updates)
        own = [[a + d for a, d in zip(variate, change)] for variate, change in zip(own, changes)]
        c = average(c, changes)
        rounds.append({"updates": updates, "changes": changes, "model": model})
    return {"name": "scaffold", "rounds": rounds}


def fedbn():
    """Li et al. 2021: norm layers stay at the site, running values included."""
    model, rounds = list(START), []
    norms = [[START[i] for i in NORM] for _ in SITES]
    for _ in range(ROUNDS):
        updates = []
        for k, site in enumerate(SITES):
            start = list(model)
            for i, value in zip(NORM, norms[k]):
                start[i] = value
            update = train(site, start)
            norms[k] = [start[i] + update[i] for i in NORM]
            updates.append([0.0 if i in NORM else u for i, u in enumerate(update)])
        model = average(model, updates)
        rounds.append({"updates": updates, "norms": list(norms), "model": model})
    return {"name": "fedbn", "rounds": rounds}


def personalization():
    """Three rounds of plain averaging; then every site trains on for itself, for twice as many steps."""
    model, rounds = list(START), []
    for _ in range(ROUNDS):
        updates = [train(site, model) for site in SITES]
        model = average(model, updates)
        rounds.append({"updates": updates, "model": model})
    steps = 2 * LOCAL_STEPS
    personal = [[m + u for m, u in zip(model, train(site, model, steps=steps))] for site in SITES]
    return {"name": "personalization", "rounds": rounds, "personal_steps": steps, "personal": personal}


def main():
    head = {"local_steps": LOCAL_STEPS, "rate": RATE, "start": START, "norm": NORM, "sites": SITES}
    cases = [fedprox(0.5), scaffold(), fedbn(), personalization()]
    # One case a line.
    text = json.dumps(head)[:-1] + ', "cases": [\n' + ",\n".join(json.dumps(case) for case in cases) + "\n]}\n"
    path = pathlib.Path(__file__).with_suffix(".json")
    if "--check" in sys.argv[1:]:
        if path.read_text() != text:
            sys.exit(f"{path} is not what {pathlib.Path(__file__).name} writes")
    else:
        path.write_text(text)


if __name__ == "__main__":
    main()
