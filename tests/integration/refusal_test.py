"""Everything that must be refused is, each with a message of its own."""

import datetime
import json
import pathlib
import shutil
import unittest

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

import federation
from federation import CommandFailed, Federation, make_job, run


class RefusalTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.federation = Federation(sites=("north",)).start()

    @classmethod
    def tearDownClass(cls):
        cls.federation.close()

    def add_site(self, name):
        self.federation.enrol_site(name)
        self.federation.write_site_config(name)

    def test_a_site_of_another_federation_is_told_so(self):
        other = Federation(sites=("stranger",))
        self.addCleanup(other.close)
        other.enrol_site("stranger")
        other.write_site_config("stranger", coordinator=self.federation.address)

        agent = other.start_agent("stranger")

        lost = agent.wait_for("session.lost")
        self.assertIn("a coordinator of another federation", lost["reason"])

    def test_an_expired_certificate_is_named_with_its_date(self):
        self.add_site("late")
        expire_certificate(self.federation.root / "late" / "identity", self.federation.authority)

        agent = self.federation.start_agent("late")

        self.assertNotEqual(agent.wait(), 0)
        self.assertIn("expired", agent.text())
        self.assertIn("2020-01-02", agent.text())

    def test_a_revoked_site_is_told_when_and_why(self):
        self.add_site("leaver")
        agent = self.federation.start_agent("leaver")
        agent.wait_for("session.connected")

        run("federation", "revoke", "--dir", self.federation.authority, "--site", "leaver",
            "--reason", "contract ended")

        lost = agent.wait_for("session.lost")
        self.assertIn("revoked", lost["reason"])
        self.assertIn("contract ended", lost["reason"])

    def test_a_site_that_the_coordinators_roster_does_not_hold_is_unknown(self):
        coordinator_roster = self.federation.root / "old-roster.yaml"
        shutil.copy(self.federation.authority / "roster.yaml", coordinator_roster)
        second = federation.Process("second", [federation.BIN / "chorale-coordinator", "--config",
                                               self.second_coordinator(coordinator_roster)])
        self.federation.processes.append(second)
        port = second.wait_for("coordinator.listening")["port"]
        self.federation.enrol_site("newcomer")
        self.federation.write_site_config("newcomer", coordinator=f"127.0.0.1:{port}")

        agent = self.federation.start_agent("newcomer")

        lost = agent.wait_for("session.lost")
        self.assertIn("unknown site 'newcomer'", lost["reason"])

    def second_coordinator(self, roster):
        directory = self.federation.root / "second"
        directory.mkdir(mode=0o700)
        config = json.loads(self.federation.coordinator_config.read_text())
        config.update(listen="127.0.0.1:0", state_directory=str(directory / "state"), roster=str(roster))
        path = directory / "coordinator.yaml"
        path.write_text(json.dumps(config))
        return path

    def test_a_token_serves_once(self):
        token = self.federation.enrol_site("once")
        directory = self.federation.root / "twice"
        directory.mkdir(mode=0o700)

        with self.assertRaises(CommandFailed) as refused:
            run("site", "enrol", "--dir", directory, "--token", token, "--authority", self.federation.authority)

        self.assertEqual(refused.exception.returncode, 4)
        self.assertIn("already used", refused.exception.stderr)

    def test_a_state_directory_in_use_is_refused(self):
        agent = self.federation.start_agent("north")

        self.assertNotEqual(agent.wait(), 0)
        self.assertIn("in use", agent.text())

    def test_a_site_without_a_policy_does_not_start(self):
        self.add_site("open")
        self.federation.write_site_config("open", policy={"allow": []})

        agent = self.federation.start_agent("open")

        self.assertNotEqual(agent.wait(), 0)
        self.assertIn("policy", agent.text())

    def test_a_site_certificate_cannot_submit_jobs(self):
        impostor = self.federation.root / "impostor"
        shutil.copytree(self.federation.researcher, impostor)
        shutil.rmtree(impostor / "identity")
        shutil.copytree(self.federation.root / "north" / "identity", impostor / "identity")
        job = self.federation.root / "impostor.yaml"
        job.write_text(json.dumps(make_job()))

        with self.assertRaises(CommandFailed) as refused:
            run("job", "submit", job, "--as", impostor)

        self.assertEqual(refused.exception.returncode, 4)

    def test_an_unknown_key_is_refused_with_line_and_nearest_key(self):
        job = self.federation.root / "typo.yaml"
        job.write_text("name: trial\nrouns:\n  count: 3\n")

        with self.assertRaises(CommandFailed) as refused:
            run("job", "submit", job, "--as", self.federation.researcher)

        self.assertEqual(refused.exception.returncode, 3)
        self.assertRegex(refused.exception.stderr, r"typo\.yaml:2: .*rouns.*rounds")

    def test_a_value_out_of_bounds_names_file_line_key_bound_and_value(self):
        job = self.federation.root / "bounds.yaml"
        job.write_text(json.dumps(make_job(rounds={"count": 0, "min_reports": 3, "deadline": "60s"}), indent=1))

        with self.assertRaises(CommandFailed) as refused:
            run("job", "submit", job, "--as", self.federation.researcher)

        self.assertRegex(refused.exception.stderr, r"bounds\.yaml:\d+: .*rounds\.count .*\[1, 10000\].* 0")

    def test_the_private_keys_of_a_site_are_nowhere_but_in_its_identity(self):
        self.add_site("keeper")
        identity = self.federation.root / "keeper" / "identity"
        keys = [(identity / name).read_bytes() for name in ("tls.key", "signing.key")]

        for path in self.federation.root.rglob("*"):
            if not path.is_file() or path.is_relative_to(identity):
                continue
            content = path.read_bytes()
            for key in keys:
                self.assertNotIn(key.strip(), content, path)


def expire_certificate(identity: pathlib.Path, authority: pathlib.Path):
    """Replaces the certificate by one that ended on 2020-01-02, properly issued by the authority."""
    old = x509.load_pem_x509_certificate((identity / "certificate.pem").read_bytes())
    root = x509.load_pem_x509_certificate((authority / "root.pem").read_bytes())
    key = serialization.load_pem_private_key((authority / "root.key").read_bytes(), None)
    builder = (x509.CertificateBuilder()
               .subject_name(old.subject).issuer_name(root.subject).public_key(old.public_key())
               .serial_number(old.serial_number)
               .not_valid_before(datetime.datetime(2020, 1, 1))
               .not_valid_after(datetime.datetime(2020, 1, 2)))
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    new = builder.sign(key, hashes.SHA256())
    (identity / "certificate.pem").write_bytes(new.public_bytes(serialization.Encoding.PEM))
