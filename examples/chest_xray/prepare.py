"""Splits PneumoniaMNIST over hospitals that see very different patients, and writes what a site offers: images and a table.

usage: prepare.py SOURCE OUT [--sites N] [--concentration A] [--seed N] [--every N]

SOURCE holds the files train_images_u8_28x28.bin, train_labels_u8.bin and the same of `test` (docs of this example). Each
class is shared out over the sites in proportions drawn from a symmetric Dirichlet distribution (Hsu et al. 2019): training
images, and test images in the same proportions, so that every site is tested on patients like its own. Every image goes to
one site. For each site NAME, OUT/NAME/ gets

  images.npy   uint8 [images, 28, 28]
  table.csv    image (the place in images.npy), label (0 normal, 1 pneumonia), split (train or test)

--every N keeps each N-th image, for a quick look.
"""

import argparse
import csv
import pathlib

import numpy

SIDE = 28
NUM_CLASSES = 2
LEAST_ROWS = 20  # Of training, at a site; a draw that gives less is drawn again.


def read_split(source, name, every):
    images = numpy.fromfile(source / f"{name}_images_u8_28x28.bin", numpy.uint8).reshape(-1, SIDE, SIDE)
    labels = numpy.fromfile(source / f"{name}_labels_u8.bin", numpy.uint8)
    if len(images) != len(labels):
        raise SystemExit(f"{source}: {len(images)} images and {len(labels)} labels of {name}")
    return images[::every], labels[::every]


def deal(labels, shares, generator):
    """The site of each image. shares [classes, sites]"""
    sites = numpy.empty(len(labels), int)
    for number in range(NUM_CLASSES):
        own = generator.permutation(numpy.flatnonzero(labels == number))
        ends = numpy.round(numpy.cumsum(shares[number]) * len(own)).astype(int)
        for site, part in enumerate(numpy.split(own, ends[:-1])):
            sites[part] = site
    return sites


def draw_shares(labels, arguments, generator):
    while True:
        shares = generator.dirichlet([arguments.concentration] * arguments.sites, NUM_CLASSES)
        counts = sum(numpy.round(shares[c] * numpy.sum(labels == c)) for c in range(NUM_CLASSES))
        if counts.min() >= LEAST_ROWS:
            return shares


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--sites", type=int, default=5)
    parser.add_argument("--concentration", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--every", type=int, default=1)
    arguments = parser.parse_args()

    generator = numpy.random.default_rng(arguments.seed)
    splits = {name: read_split(arguments.source, name, arguments.every) for name in ("train", "test")}
    shares = draw_shares(splits["train"][1], arguments, generator)
    sites = {name: deal(labels, shares, generator) for name, (_, labels) in splits.items()}
    for site in range(arguments.sites):
        folder = arguments.out / f"hospital-{site + 1}"
        folder.mkdir(parents=True, exist_ok=True)
        rows, images = [], []
        for name, (all_images, labels) in splits.items():
            for place in numpy.flatnonzero(sites[name] == site):
                rows.append([len(rows), labels[place], name])
                images.append(all_images[place])
        numpy.save(folder / "images.npy", numpy.stack(images))
        with open(folder / "table.csv", "w", newline="") as file:
            csv.writer(file).writerows([["image", "label", "split"], *rows])
        of = [f"{sum(r[2] == s for r in rows)} {s} ({sum(r[2] == s and r[1] == 1 for r in rows)} with pneumonia)" for s in splits]
        print(f"{folder.name}: {', '.join(of)}")


if __name__ == "__main__":
    main()
