"""Runs one integration test module: run.py --bin DIR MODULE [unittest arguments]."""

import argparse
import pathlib
import sys
import unittest

import federation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True, type=pathlib.Path, help="folder of the binaries")
    parser.add_argument("module", help="a *_test module of this folder")
    arguments, rest = parser.parse_known_args()
    federation.BIN = arguments.bin.resolve()
    unittest.main(module=arguments.module, argv=[sys.argv[0], "-v", *rest])


if __name__ == "__main__":
    main()
