"""Backup, restoring, and two programs where one should be: real processes, killed and started elsewhere."""

import json
import shutil
import unittest

import federation
from federation import CommandFailed, Federation, Process, make_job, slow_training
from privacy_test import private_job

NAMES = ["east", "north", "south", "west"]
# Long enough that a backup is made meanwhile.
JOB = {"training": {**slow_training(4000), "metrics": []}, "rounds": {
    "count": 12, "min_reports": 4, "deadline": "60s", "max_abandoned": 3}}


def digest_of(party, *arguments):
    return json.loads(federation.run(party, "verify", *arguments, "--format", "json"))["state_digest"]


class RestoreTest(unittest.TestCase):
    def setUp(self):
        self.federation = Federation(NAMES)
        self.addCleanup(self.federation.close)

    def back_up(self, party, name, *arguments):
        file = self.federation.root / f"{name}.backup"
        federation.run(party, "backup", "--dir", self.federation.root / name, "--out", file, *arguments)
        return file

    def restore_coordinator(self, file):
        """In place of the one that ran, in a directory that was empty."""
        root = self.federation.root
        federation.run("coordinator", "restore", "--dir", root / "new", "--from", file)
        self.assertEqual(digest_of("coordinator", "--dir", root / "new"), digest_of("coordinator", "--from", file))
        shutil.rmtree(root / "coordinator")
        (root / "new").rename(root / "coordinator")

    def published(self, job_id):
        return self.federation.show(job_id)["job"]["published_rounds"]

    def test_a_job_goes_on_from_a_backup_taken_while_it_ran(self):
        self.federation.start()
        job_id = self.federation.submit(make_job(**JOB))
        self.federation.coordinator.wait_for("round.published", round=2)
        # Sites stop first: nobody sees anything later than the backup.
        for name in NAMES:
            self.federation.agents[name].kill()
        file = self.back_up("coordinator", "coordinator", "--with-keys")
        published = self.published(job_id)
        self.federation.coordinator.kill()
        sites = {name: self.back_up("site", name, "--with-keys") for name in NAMES}

        self.restore_coordinator(file)
        self.federation.start_coordinator()
        for name in NAMES:
            directory = self.federation.root / name
            shutil.rmtree(directory)
            directory.mkdir(mode=0o700)
            federation.run("site", "restore", "--dir", directory, "--from", sites[name])
            self.federation.start_agent(name).wait_for("session.connected")
        shown = self.federation.wait_job(job_id)

        self.assertEqual(shown["job"]["state"], "JOB_STATE_COMPLETED")
        self.assertGreaterEqual(published, 2)
        self.assertEqual([r["round"] for r in shown["rounds"] if r["published"] and r["phase"] == "training"],
                         list(range(1, 13)))

    def test_sites_follow_no_coordinator_that_was_put_back_until_its_operator_accepts_the_loss(self):
        self.federation.start()
        job_id = self.federation.submit(make_job(**JOB))
        self.federation.coordinator.wait_for("round.published", round=1)
        file = self.back_up("coordinator", "coordinator", "--with-keys")
        self.federation.coordinator.wait_for("round.published", round=4)
        self.federation.coordinator.kill()

        self.restore_coordinator(file)
        self.federation.start_coordinator()
        for name in NAMES:
            reason = self.federation.agents[name].wait_for("session.lost")["reason"]
            while "does not follow" not in reason:
                reason = self.federation.agents[name].wait_for("session.lost")["reason"]
            self.assertIn("older than what this site has seen", reason)
            self.assertIn("accept-loss", reason)
        self.federation.coordinator.stop()
        federation.run("coordinator", "accept-loss", "--dir", self.federation.root / "coordinator")
        self.federation.start_coordinator()
        shown = self.federation.wait_job(job_id)

        self.assertEqual(shown["job"]["state"], "JOB_STATE_COMPLETED", json.dumps(shown, indent=1))

    def test_a_site_whose_ledger_was_put_back_takes_no_private_job_until_it_accepts_the_loss(self):
        self.federation.give_budgets(max_epsilon=4)
        self.federation.start()
        file = self.back_up("site", "north", "--with-keys")  # Before anything was charged.
        self.federation.train(private_job(count=2))
        agent = self.federation.agents["north"]
        agent.stop()
        directory = self.federation.root / "north"
        shutil.rmtree(directory)
        federation.run("site", "restore", "--dir", directory, "--from", file)

        agent = self.federation.start_agent("north")
        agent.wait_for("ledger.rolled_back")
        shown = self.federation.wait_job(self.federation.submit(private_job(count=1, name="second")))
        refusals = {s["site"]: s["reason_code"] for r in shown["rounds"] for s in r["sites"] if s["reason_code"]}
        self.assertEqual(refusals, {"north": "LEDGER_ROLLED_BACK"})
        text = federation.run("coordinator", "sites", "--as", self.federation.researcher)
        self.assertRegex(text, "north.*ledger")

        agent.stop()
        self.assertIn("max_epsilon", federation.run("site", "accept-loss", "--dir", directory))
        self.federation.start_agent("north").wait_for("session.connected")
        shown = self.federation.wait_job(self.federation.submit(private_job(count=1, name="third")))
        self.assertEqual(shown["job"]["state"], "JOB_STATE_COMPLETED")
        self.assertIn("SITE_STATE_REPORTED", [s["state"] for s in shown["rounds"][-1]["sites"] if s["site"] == "north"])

    def test_a_damaged_backup_restores_nothing(self):
        self.federation.start()
        file = self.back_up("site", "north")
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)

        with self.assertRaises(CommandFailed) as failed:
            federation.run("site", "restore", "--dir", self.federation.root / "new", "--from", file)

        self.assertIn("damaged", failed.exception.stderr)
        self.assertFalse((self.federation.root / "new").exists())


class FencingTest(unittest.TestCase):
    def setUp(self):
        self.federation = Federation(NAMES).start()
        self.addCleanup(self.federation.close)

    def start_copy_of_agent(self, name, directory):
        config = json.loads((self.federation.root / name / "site.yaml").read_text())
        config["state_directory"] = str(directory)
        path = self.federation.root / f"{name}-copy.yaml"
        path.write_text(json.dumps(config))
        agent = Process(name + "-copy", [federation.BIN / "chorale-site-agent", "--config", path])
        self.federation.processes.append(agent)
        return agent

    def test_a_second_agent_with_another_state_directory_is_refused_while_the_first_is_connected(self):
        second = self.start_copy_of_agent("north", self.federation.root / "other-state")

        reason = second.wait_for("session.lost")["reason"]

        self.assertIn("another agent of site north is connected", reason)
        self.federation.train(make_job())
        self.assertNotIn("session.lost", self.federation.agents["north"].text())
        text = federation.run("coordinator", "sites", "--as", self.federation.researcher)
        self.assertRegex(text, "north.*another agent")

    def test_of_two_agents_on_copies_of_one_state_directory_the_older_is_fenced_for_good(self):
        root = self.federation.root
        shutil.copytree(root / "north" / "state", root / "copied-state")
        newer = self.start_copy_of_agent("north", root / "copied-state")
        newer.wait_for("session.connected")

        older = self.federation.agents["north"]
        reason = older.wait_for("session.lost")["reason"]
        while "a newer agent of site north" not in reason:
            reason = older.wait_for("session.lost")["reason"]
        self.federation.train(make_job())

        newer.kill()  # Nor does the older one come back then.
        self.assertIn("a newer agent", older.wait_for("session.lost")["reason"])

    def test_a_second_agent_on_the_same_state_directory_does_not_start(self):
        second = self.start_copy_of_agent("north", self.federation.root / "north" / "state")

        self.assertEqual(second.wait(), 1)
        self.assertIn("another site agent uses state_directory", second.text())

    def test_a_second_coordinator_on_the_same_state_directory_does_not_start(self):
        self.federation.write_coordinator_config("127.0.0.1:0")
        second = Process("second", [federation.BIN / "chorale-coordinator", "--config",
                                    self.federation.coordinator_config])
        self.federation.processes.append(second)

        self.assertEqual(second.wait(), 1)
        self.assertIn("is in use by another process", second.text())

    def test_sites_that_followed_a_copied_coordinator_do_not_go_back_to_the_older_one(self):
        root = self.federation.root
        older = self.federation.coordinator
        # A copy of the running coordinator's directory, as a careless operator makes one.
        shutil.copytree(root / "coordinator" / "state", root / "copied-state")
        self.federation.write_coordinator_config("127.0.0.1:0", state_directory=str(root / "copied-state"))
        newer = Process("newer", [federation.BIN / "chorale-coordinator", "--config",
                                  self.federation.coordinator_config])
        self.federation.processes.append(newer)
        port = newer.wait_for("coordinator.listening")["port"]
        agent = self.federation.agents["north"]
        agent.stop()
        self.federation.write_site_config("north", coordinator=f"127.0.0.1:{port}")
        agent = self.federation.start_agent("north")
        agent.wait_for("session.connected")
        agent.stop()

        self.federation.write_site_config("north", coordinator=self.federation.address)
        agent = self.federation.start_agent("north")

        reason = agent.wait_for("session.lost")["reason"]
        self.assertIn("a newer one has started from its state directory or a copy of it", reason)
        self.assertIsNone(older.child.poll())


if __name__ == "__main__":
    unittest.main()
