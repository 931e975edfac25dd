"""Prints one line for each report.json: what the federated model reaches beside the centralized one.

usage: summary.py FOLDER…     each holds report.json
"""

import json
import pathlib
import sys


def show(metric):
    if "value" not in metric:
        return "n.e."
    return f"{metric['value']:.4f}"


def main():
    lines = []
    for argument in sys.argv[1:]:
        folder = pathlib.Path(argument)
        report = json.loads((folder / "report.json").read_text())
        arms = {arm["arm"]: arm["pooled_test"] for arm in report["arms"] if arm["arm"] != "local"}
        keys = [key for key in arms["federated"] if key != "rows"]
        rounds = [r for r in report.get("run", {}).get("rounds", []) if r["phase"] not in ("preparation", "personalization")]
        seconds = sum(r["seconds"] for r in rounds)
        for arm, scores in arms.items():
            lines.append([folder.name if arm == "federated" else "", arm,
                          str(len(rounds)) if arm == "federated" else "",
                          f"{seconds:.1f}" if arm == "federated" else "",
                          ", ".join(f"{key} {show(scores[key])}" for key in keys)])
    header = ["job", "arm", "rounds", "seconds", "pooled test rows"]
    widths = [max(len(row[i]) for row in [header, *lines]) for i in range(4)]
    for row in [header, *lines]:
        cells = [row[0].ljust(widths[0]), row[1].ljust(widths[1]), row[2].rjust(widths[2]), row[3].rjust(widths[3])]
        print("  " + "  ".join([*cells, row[4]]))


if __name__ == "__main__":
    main()
