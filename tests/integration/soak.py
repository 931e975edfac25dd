"""By hand: thousands of rounds with random kills; every process keeps to its memory and its descriptors.

    build/venv/bin/python tests/integration/soak.py --bin build/bin [--rounds 2000] [--agents 8] [--seed 1] [--json FILE]

The coordinator is killed once in a while, agents often, but for the first two: what leaks shows in those. Ends with 1 when a
process has grown, or the job did not complete.
"""

import argparse
import json
import pathlib
import random
import sys
import time

import federation
from federation import Federation, make_job

KILL_PAUSE_SECONDS = (2.0, 6.0)
COORDINATOR_SHARE = 0.1  # Of the kills.
SPARED = 2
# A process settles in its first rounds; who does not live longer tells nothing. From then on this much more is growth.
SETTLING_ROUNDS = 100
MAX_GROWTH_BYTES = 16 << 20
MAX_MORE_DESCRIPTORS = 16


class Life:
    """What one process has taken, from its start to its end."""

    def __init__(self, process):
        self.process = process
        self.samples = []  # Rounds published, resident bytes, descriptors.

    def sample(self, published):
        try:
            status = pathlib.Path(f"/proc/{self.process.child.pid}/status").read_text()
            resident = int(status.split("VmRSS:")[1].split()[0]) * 1024
            descriptors = len(list(pathlib.Path(f"/proc/{self.process.child.pid}/fd").iterdir()))
        except (FileNotFoundError, IndexError, ProcessLookupError):
            return  # Being killed.
        self.samples.append((published, resident, descriptors))

    def growth(self):
        """Bytes and descriptors, of medians, from a quarter to the last quarter of what comes after settling."""
        settled = [s for s in self.samples if s[0] - self.samples[0][0] >= SETTLING_ROUNDS]
        quarter = len(settled) // 4
        if quarter == 0:
            return None
        median = lambda values: sorted(values)[len(values) // 2]
        first, last = settled[:quarter], settled[-quarter:]
        return {"process": self.process.name, "rounds": settled[-1][0] - settled[0][0],
                "resident_bytes": median([s[1] for s in last]),
                "resident_growth_bytes": median([s[1] for s in last]) - median([s[1] for s in first]),
                "descriptors": median([s[2] for s in last]),
                "descriptor_growth": median([s[2] for s in last]) - median([s[2] for s in first])}


def soak(choir, arguments):
    chance = random.Random(arguments.seed)
    # Enough for a round to go on without the site that was killed.
    least = arguments.agents * 2 // 3 + 1
    job_id = choir.submit(make_job(rounds={
        "count": arguments.rounds, "min_reports": least, "deadline": "20s", "max_abandoned": 50}))
    lives = {}
    kills = {"coordinator": 0, "agents": 0}
    next_kill = time.monotonic() + chance.uniform(*KILL_PAUSE_SECONDS)
    while True:
        job = choir.show(job_id)["job"]
        for process in [choir.coordinator, *choir.agents.values()]:
            lives.setdefault(process, Life(process)).sample(job["published_rounds"])
        if job["state"] != "JOB_STATE_RUNNING":
            break
        if time.monotonic() >= next_kill:
            if chance.random() < COORDINATOR_SHARE:
                choir.coordinator.kill()
                choir.start_coordinator()
                kills["coordinator"] += 1
            else:
                name = chance.choice(choir.site_names[SPARED:])
                choir.agents[name].kill()
                choir.start_agent(name)
                kills["agents"] += 1
            print(f"{job['published_rounds']} of {arguments.rounds} rounds, kills: {kills}", file=sys.stderr, flush=True)
            next_kill = time.monotonic() + chance.uniform(*KILL_PAUSE_SECONDS)
        time.sleep(0.25)  # Between samples.
    growth = [g for life in lives.values() if (g := life.growth()) is not None]
    grown = [g for g in growth if g["resident_growth_bytes"] > MAX_GROWTH_BYTES
             or g["descriptor_growth"] > MAX_MORE_DESCRIPTORS]
    return {"state": job["state"], "reason": job["reason"], "rounds": job["published_rounds"], "kills": kills,
            "processes": growth, "grown": grown}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--agents", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    federation.BIN = arguments.bin.resolve()
    choir = Federation([f"site-{i}" for i in range(arguments.agents)],
                       policy={"max_rounds": arguments.rounds + 1}).start()
    try:
        result = soak(choir, arguments)
    finally:
        choir.close()
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n")
    return 0 if result["state"] == "JOB_STATE_COMPLETED" and not result["grown"] else 1


if __name__ == "__main__":
    sys.exit(main())
