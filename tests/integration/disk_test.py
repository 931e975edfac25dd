"""Disks that are full, read-only or spoilt, under real processes."""

import json
import os
import shutil
import sqlite3
import subprocess
import unittest

import federation
from federation import Federation, make_job, slow_training

NAMES = ["east", "north", "south", "west"]


class SmallDisk:
    """A disk of its own, in memory, mounted at `path`."""

    def __init__(self, path, megabytes):
        self.path = path
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.mkdir(mode=0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "none", path], check=True)

    def fill(self, leaving=0):
        """Leaves so many bytes free."""
        with open(self.path / "ballast", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 65536)
            except OSError:
                pass
            try:
                while True:
                    file.write(b"\0")
            except OSError:
                pass

        os.truncate(self.path / "ballast", (self.path / "ballast").stat().st_size - leaving)

    def make_room(self):
        (self.path / "ballast").unlink()

    def unmount(self):
        subprocess.run(["umount", "-l", self.path], check=True)


def can_mount():
    return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0


@unittest.skipUnless(can_mount(), "mounts a file system: needs root")
class FullDiskTest(unittest.TestCase):
    def setUp(self):
        self.federation = Federation(NAMES)
        self.addCleanup(self.federation.close)

    def disk_at(self, name, megabytes):
        disk = SmallDisk(self.federation.root / name / "state", megabytes)
        self.addCleanup(disk.unmount)
        return disk

    def test_a_job_waits_for_room_on_the_coordinators_disk_and_goes_on_when_there_is_some(self):
        disk = self.disk_at("coordinator", 64)
        self.federation.start()
        job_id = self.federation.submit(make_job(
            training={**slow_training(4000), "metrics": []},
            rounds={"count": 6, "min_reports": 3, "deadline": "120s", "max_abandoned": 5}))
        self.federation.coordinator.wait_for("round.published", round=1)

        disk.fill()
        failed = self.federation.coordinator.wait_for("store.failed")
        self.assertIn("full", failed["why"])
        self.assertIsNone(self.federation.coordinator.child.poll())
        disk.make_room()
        shown = self.federation.wait_job(job_id)

        self.assertEqual(shown["job"]["state"], "JOB_STATE_COMPLETED")
        self.assertEqual([r["round"] for r in shown["rounds"] if r["published"] and r["phase"] == "training"],
                         list(range(1, 7)))

    def test_no_round_begins_that_the_coordinators_disk_has_no_room_for(self):
        self.disk_at("coordinator", 12)  # Below what is held back for a round.
        self.federation.start()
        job_id = self.federation.submit(make_job(rounds={"count": 1, "min_reports": 3, "deadline": "60s"}))

        why = json.loads(federation.run("job", "why", job_id, "--as", self.federation.researcher, "--format", "json"))

        self.assertIn("MiB free", why["waiting_for"][0])
        self.assertIn("make room", why["waiting_for"][0])

    def test_a_site_whose_disk_is_full_says_so_before_it_trains_and_takes_part_once_there_is_room(self):
        disk = self.disk_at("north", 64)
        self.federation.start()
        disk.fill(leaving=2 << 20)  # With none at all, nothing leaves the site, for nothing can be recorded.
        job = make_job(rounds={"count": 2, "min_reports": 3, "deadline": "60s", "max_abandoned": 1})

        shown = self.federation.wait_job(self.federation.submit(job))

        self.assertEqual(shown["job"]["state"], "JOB_STATE_COMPLETED")
        refusals = {(s["site"], s["reason_code"]) for r in shown["rounds"] for s in r["sites"] if s["reason_code"]}
        self.assertEqual(refusals, {("north", "RESOURCE_LIMIT")})
        self.assertIn("MiB of disk", self.federation.agents["north"].text())
        disk.make_room()
        shown = self.federation.wait_job(self.federation.submit(job))
        self.assertEqual({s["state"] for s in shown["rounds"][-1]["sites"]}, {"SITE_STATE_REPORTED"})

    def test_a_read_only_disk_is_said_plainly_at_the_start(self):
        disk = self.disk_at("coordinator", 64)
        subprocess.run(["mount", "-o", "remount,ro", disk.path], check=True)
        coordinator = federation.Process(
            "coordinator", [federation.BIN / "chorale-coordinator", "--config", self.federation.coordinator_config])
        self.federation.processes.append(coordinator)
        self.assertEqual(coordinator.wait(), 1)
        self.assertIn("Read-only file system", coordinator.text())


class SpoiltDiskTest(unittest.TestCase):
    """Bits that are not what was written: found at the start, and nothing of it is believed."""

    @classmethod
    def setUpClass(cls):
        cls.federation = Federation(NAMES).start()
        cls.federation.train(make_job(rounds={"count": 2, "min_reports": 4, "deadline": "60s"}))
        cls.job_id = cls.federation.submit(make_job(
            training=slow_training(), rounds={"count": 2, "min_reports": 4, "deadline": "600s"}))
        cls.federation.agents["north"].wait_for("task.taken", job=cls.job_id, round=1)
        for process in [cls.federation.coordinator, *cls.federation.agents.values()]:
            process.kill()
        for database in ["coordinator/state/coordinator.db", "north/state/journal.db", "north/state/promises.db",
                         "north/state/ledger.db"]:
            path = cls.federation.root / database
            if path.exists():  # Everything into the file itself.
                connection = sqlite3.connect(path)
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                connection.close()

    @classmethod
    def tearDownClass(cls):
        cls.federation.close()

    def start_on(self, name, spoil):
        """Starts a program on a spoilt copy of its state; its exit code and what it said."""
        root = self.federation.root
        state = root / "spoilt-state"
        shutil.rmtree(state, ignore_errors=True)
        shutil.copytree(root / name / "state", state)
        spoil(state)
        file, program = (("coordinator.yaml", "chorale-coordinator") if name == "coordinator"
                         else ("site.yaml", "chorale-site-agent"))
        config = json.loads((root / name / file).read_text())
        config["state_directory"] = str(state)
        if name == "coordinator":
            config["listen"] = "127.0.0.1:0"
        path = root / "spoilt.yaml"
        path.write_text(json.dumps(config))
        process = federation.Process(name, [federation.BIN / program, "--config", path])
        self.federation.processes.append(process)
        return process

    def assert_refused(self, name, spoil, words):
        process = self.start_on(name, spoil)
        try:
            self.assertEqual(process.wait(), 1, process.text())
        except subprocess.TimeoutExpired:
            self.fail(f"{name} runs:\n{process.text()}")
        self.assertRegex(process.text(), words)

    @staticmethod
    def flip(path, offset):
        content = bytearray(path.read_bytes())
        content[offset] ^= 0x10
        path.write_bytes(content)

    def test_a_flipped_bit_in_an_event_of_a_running_job_is_found(self):
        def spoil(state):
            path = state / "coordinator.db"
            connection = sqlite3.connect(path)
            event, = connection.execute("SELECT event FROM events WHERE job = ? ORDER BY sequence DESC LIMIT 1",
                                        (self.job_id,)).fetchone()
            connection.close()
            self.flip(path, path.read_bytes().index(event) + 3)

        self.assert_refused("coordinator", spoil, "stored event [0-9]+ of job .* is damaged: restore")

    def test_a_missing_event_is_found(self):
        def spoil(state):
            connection = sqlite3.connect(state / "coordinator.db")
            connection.execute("DELETE FROM events WHERE job = ? AND sequence = 2", (self.job_id,))
            connection.commit()
            connection.close()

        self.assert_refused("coordinator", spoil, "stored event 3 of job .* is damaged")

    def test_a_flipped_bit_in_a_stored_model_is_found(self):
        def spoil(state):
            path = state / "coordinator.db"
            connection = sqlite3.connect(path)
            content, = connection.execute(
                "SELECT content FROM blobs b JOIN blob_names n ON n.digest = b.digest WHERE n.job = ? AND name = ?",
                (self.job_id, "model/0/global")).fetchone()
            connection.execute("UPDATE blobs SET content = ? WHERE content = ?",
                               (bytes([content[0] ^ 1]) + content[1:], content))
            connection.commit()
            connection.close()

        self.assert_refused("coordinator", spoil, "a stored payload is damaged: restore")

    def test_a_database_that_is_cut_short_or_overwritten_is_found(self):
        def truncate(state):
            path = state / "coordinator.db"
            os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)

        def overwrite(state):
            with open(state / "journal.db", "r+b") as file:
                file.seek(4096)
                file.write(b"\xff" * 2048)

        self.assert_refused("coordinator", truncate, "coordinator.db.*(malformed|integrity|damaged)")
        self.assert_refused("north", overwrite, "journal.db.*(malformed|integrity|damaged)")

    def test_a_flipped_bit_in_a_sites_promises_is_found(self):
        def spoil(state):
            connection = sqlite3.connect(state / "promises.db")
            connection.execute("UPDATE nonces SET nonce = substr(nonce, 1, 31)")
            connection.execute("UPDATE sums SET sites = 'a b'")
            connection.commit()
            connection.close()

        self.assert_refused("north", spoil, "promises.db is damaged")

    def test_a_damaged_state_mark_is_not_taken_for_none(self):
        def spoil(state):
            self.flip(state / "state_mark", 0)

        self.assert_refused("north", spoil, "state_mark is damaged: restore")
        self.assert_refused("coordinator", spoil, "state_mark is damaged: restore")

    def test_an_undamaged_copy_starts(self):
        process = self.start_on("coordinator", lambda state: None)
        process.wait_for("coordinator.listening")
        process.kill()


if __name__ == "__main__":
    unittest.main()
