"""Real site agents against a coordinator that holds the real certificate and lies in every way it can."""

import collections
import json
import re
import subprocess
import unittest

import federation
from federation import Federation, make_job

NAMES = ["east", "north", "south", "west"]
COLLUDER = "zone"  # Last by name.


class CompromisedCoordinatorTest(unittest.TestCase):
    def setUp(self):
        self.federation = Federation(NAMES)
        self.addCleanup(self.federation.close)
        self.federation.address = "127.0.0.1:1"  # Of nobody: nothing is submitted.
        self.federation.enrol_researcher()
        for name in [*NAMES, COLLUDER]:
            self.federation.enrol_site(name)

    def start(self):
        root = self.federation.root
        job = root / "job.yaml"
        job.write_text(json.dumps(make_job(training={
            "optimizer": {"sgd": {"learning_rate": 0.01}}, "local_steps": 1, "batch_size": 4})))
        identities = [root / name / "identity" for name in NAMES]
        tables = [self.federation.csv_files[i % len(self.federation.csv_files)] for i in range(len(NAMES))]
        liar = subprocess.Popen([
            federation.BIN / "chorale_compromised_coordinator", "--coordinator", root / "coordinator" / "identity",
            "--researcher", self.federation.researcher / "identity", "--roster", self.federation.authority / "roster.yaml",
            "--job", job, "--colluder", root / COLLUDER / "identity", "--site", *identities, "--table", *tables],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.addCleanup(liar.stdout.close)
        self.addCleanup(liar.kill)
        self.federation.address = f"127.0.0.1:{liar.stdout.readline().split()[1]}"
        for name in NAMES:
            self.federation.write_site_config(name)
            self.federation.start_agent(name)
        return liar

    def test_no_lie_gives_the_vector_of_one_site(self):
        liar = self.start()
        agents = dict(self.federation.agents)  # As they began.

        report = ""
        for line in liar.stdout:
            if not line.startswith("kill "):
                report += line
                continue
            name = line.split()[1]
            for agent in agents.values():
                if self.federation.agents[agent.name] is agent:
                    self.assertIsNone(agent.child.poll(), f"{agent.name} ended:\n{agent.tail()}")
            self.federation.agents[name].kill()
            self.federation.start_agent(name)
        code = liar.wait(timeout=60)

        print("\n" + report)
        self.assertEqual(code, 0, report)
        for name, agent in self.federation.agents.items():
            self.assertIsNone(agent.child.poll(), f"{name} ended:\n{agent.tail()}")
        # Every refusal has its lines in the log of the site that gave it: that it refused, and why.
        answers = "".join(line for line in report.splitlines() if "answered:" in line)
        told = collections.Counter()
        for count, reason in re.findall(r"(\d+) ([A-Z][A-Z_]+)", answers):
            told[reason] += int(count)
        logs = [json.loads(line) for process in self.federation.processes for line in process.lines]
        self.assertEqual(sum(record["event"] == "task.refused" for record in logs), told.total())
        problems = [record for record in logs if record["event"] == "task.problem"]
        for reason, count in told.items():
            logged = sum(record["code"] == reason or f"{reason}:" in record["problem"] for record in problems)
            self.assertEqual(logged, count, reason)
        evidence = [record for record in logs if record["event"] == "secagg.equivocation"]
        self.assertTrue(evidence)
        self.assertTrue(all(record["first"] and record["second"] for record in evidence))


if __name__ == "__main__":
    unittest.main()
