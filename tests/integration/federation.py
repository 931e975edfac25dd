"""A federation of real processes in a temporary directory."""

import json
import os
import pathlib
import queue
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import numpy

BIN = pathlib.Path("build/bin")  # Set by run.py.
WAIT_SECONDS = 60.0  # For anything that must happen; only a failure takes this long.
COMMAND_SECONDS = 120.0  # Likewise, for a command; `job watch` lasts as long as its job.

FEATURES = [
    {"column": "age", "numeric": {}},
    {"column": "sex", "numeric": {}},
    {"column": "trestbps", "numeric": {}},
    {"column": "chol", "numeric": {}},
    {"column": "thalach", "numeric": {}},
    {"column": "cp", "categorical": {"levels": ["1", "2", "3", "4"]}},
]


def make_job(**changes):
    """A small valid job; keyword arguments replace top-level keys."""
    job = {
        "name": "trial",
        "dataset": "heart",
        "data": {
            "features": FEATURES,
            "target": {"column": "num", "positive": ["1", "2", "3", "4"]},
            "standardization": "federated",
        },
        "model": {"logistic_regression": {}},
        "training": {
            "optimizer": {"sgd": {"learning_rate": 0.1}},
            "local_steps": 10,
            "batch_size": 16,
            "metrics": [{"kind": "loss", "split": "train"}],
        },
        "rounds": {"count": 3, "min_reports": 3, "deadline": "60s", "max_abandoned": 0},
        "aggregation": {"fedavg": {"weighting": "examples"}},
        "seed": 42,
    }
    job.update(changes)
    return job


def slow_training(steps=1_000_000):
    """A training section that lasts until it is interrupted."""
    return {
        "optimizer": {"sgd": {"learning_rate": 0.0001}},
        "local_steps": steps,
        "batch_size": 1,
    }


def check_sanitizers(name, text):
    """Fails when a sanitizer has found something, whatever became of the process."""
    if re.search("(Address|Leak|Thread|UndefinedBehavior)Sanitizer|: runtime error: ", text):
        raise AssertionError(f"{name}: a sanitizer's report:\n{text}")


class Process:
    """A child that logs JSON lines to standard error."""

    def __init__(self, name, arguments, environment=None):
        self.name = name
        self.lines = []
        self._events = queue.Queue()
        self._seen = []
        env = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
        env.update(environment or {})
        self.child = subprocess.Popen(
            [str(a) for a in arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL, text=True, env=env)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.child.stderr:
            self.lines.append(line)
            try:
                record = json.loads(line)
            except ValueError:
                record = {"event": "text", "text": line}
            self._events.put(record)
        self._events.put(None)

    def wait_for(self, event, timeout=WAIT_SECONDS, **fields):
        """The first record of this event with these fields, since the start or the last match."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                record = self._events.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{self.name}: no {event} {fields} in time:\n{self.tail()}")
            if record is None:
                self._events.put(None)
                raise AssertionError(f"{self.name} ended before {event} {fields}:\n{self.tail()}")
            self._seen.append(record)
            if record.get("event") == event and all(record.get(k) == v for k, v in fields.items()):
                return record

    def tail(self):
        return "".join(self.lines[-30:])

    def text(self):
        return "".join(self.lines)

    def signal(self, number):
        self.child.send_signal(number)

    def kill(self):
        self.child.kill()
        self.wait()

    def wait(self, timeout=WAIT_SECONDS):
        code = self.child.wait(timeout)
        self._reader.join(timeout)
        return code

    def stop(self):
        """Asks for an orderly end and returns the exit code."""
        if self.child.poll() is None:
            self.signal(signal.SIGINT)
        return self.wait()


class CommandFailed(AssertionError):
    def __init__(self, arguments, result):
        super().__init__(f"{' '.join(map(str, arguments))}: exit {result.returncode}\n{result.stdout}{result.stderr}")
        self.returncode = result.returncode
        self.stderr = result.stderr


def run(*arguments):
    """Runs the command-line tool and returns its standard output."""
    command = [str(BIN / "chorale"), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS,
                            stdin=subprocess.DEVNULL)
    check_sanitizers(command, result.stderr)
    if result.returncode != 0:
        raise CommandFailed(command, result)
    return result.stdout


class Federation:
    """Authority, coordinator, researcher and sites, each in a directory of its own below `root`."""

    coordinator_program = "chorale-coordinator"
    agent_program = "chorale-site-agent"
    coordinator_host = "127.0.0.1"

    def __init__(self, sites=("north", "east", "south", "west"), seed=7, policy=None):
        """`policy` replaces keys of the one rule that every site has."""
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="chorale-test-"))
        self.authority = self.root / "authority"
        self.researcher = self.root / "researcher"
        self.data = self.root / "data"
        self.processes = []
        self.agents = {}
        self.coordinator = None
        self.address = None
        self.site_names = list(sites)
        self.policy = policy or {}
        run("federation", "init", "--dir", self.authority, "--name", "trial")
        run("data", "synthetic", "--out", self.data, "--seed", seed)
        self.csv_files = sorted(self.data.glob("*.csv"))
        self._make_coordinator()

    # ------------------------------------------------------------------ parties

    def invite(self, *arguments):
        out = run("federation", "invite", "--dir", self.authority, *arguments, "--format", "json")
        return json.loads(out)["token"]

    def _make_coordinator(self):
        directory = self.root / "coordinator"
        directory.mkdir(mode=0o700)
        token = self.invite("--coordinator", "main", "--address", self.coordinator_host)
        run("coordinator", "enrol", "--dir", directory, "--token", token, "--authority", self.authority)
        self.coordinator_config = directory / "coordinator.yaml"
        self.write_coordinator_config(f"{self.coordinator_host}:0")

    def write_coordinator_config(self, listen, **changes):
        directory = self.root / "coordinator"
        config = {
            "listen": listen,
            "state_directory": str(directory / "state"),
            "identity_directory": str(directory / "identity"),
            "roster": str(self.authority / "roster.yaml"),
            "heartbeat_interval": "1s",
            "log": {"format": "json", "level": "debug"},
        }
        config.update(changes)
        self.coordinator_config.write_text(json.dumps(config))

    def launched(self, process):
        """Called with every program that is started, before anything is awaited of it."""

    def launch_coordinator(self):
        self.coordinator = Process("coordinator", [BIN / self.coordinator_program, "--config", self.coordinator_config])
        self.processes.append(self.coordinator)
        self.launched(self.coordinator)

    def start_coordinator(self):
        self.launch_coordinator()
        record = self.coordinator.wait_for("coordinator.listening")
        self.address = f"{self.coordinator_host}:{record['port']}"
        # A restarted coordinator must be found at the same place.
        self.write_coordinator_config(self.address)
        return self.coordinator

    def enrol_researcher(self):
        token = self.invite("--researcher", "alice")
        run("researcher", "enrol", "--dir", self.researcher, "--token", token, "--authority", self.authority,
            "--coordinator", self.address)

    def enrol_site(self, name):
        directory = self.root / name
        directory.mkdir(mode=0o700, exist_ok=True)
        token = self.invite("--site", name)
        run("site", "enrol", "--dir", directory, "--token", token, "--authority", self.authority)
        return token

    def write_site_config(self, name, csv=None, coordinator=None, **changes):
        directory = self.root / name
        index = self.site_names.index(name) if name in self.site_names else 0
        config = {
            "coordinator": coordinator or self.address,
            "state_directory": str(directory / "state"),
            "identity_directory": str(directory / "identity"),
            "device": "cpu",
            "threads": 1,
            "proxy": "none",
            "log": {"format": "json", "level": "debug"},
            "datasets": [{
                "id": "heart",
                "csv": {"path": str(csv or self.csv_files[index % len(self.csv_files)])},
                "split_column": "split",
            }],
            "policy": {"allow": [{
                "researchers": ["alice"], "datasets": ["heart"], "models": ["logistic_regression", "mlp"],
                "metrics": ["loss", "accuracy"], "max_parameters": 100000, "max_rounds": 1000,
                "max_local_epochs": 1000000, "unmasked": True, **self.policy,
            }]},
        }
        config.update(changes)
        path = directory / "site.yaml"
        path.write_text(json.dumps(config))
        return path

    def give_budgets(self, max_epsilon, delta=1e-4):
        """From now on every site's dataset has a privacy budget."""
        write = self.write_site_config

        def write_with_budget(name, **changes):
            path = write(name, **changes)
            config = json.loads(path.read_text())
            config["datasets"][0]["privacy"] = {"max_epsilon": max_epsilon, "delta": delta}
            path.write_text(json.dumps(config))
            return path

        self.write_site_config = write_with_budget

    def agent_command(self, name):
        return [BIN / self.agent_program, "--config", self.root / name / "site.yaml"]

    def start_agent(self, name, environment=None):
        agent = Process(name, self.agent_command(name), environment)
        self.processes.append(agent)
        self.agents[name] = agent
        self.launched(agent)
        return agent

    def start(self):
        """Coordinator, researcher and every site, connected."""
        self.start_coordinator()
        self.enrol_researcher()
        for name in self.site_names:
            self.enrol_site(name)
            self.write_site_config(name)
        for name in self.site_names:
            self.start_agent(name)
        for name in self.site_names:
            self.agents[name].wait_for("session.connected")
        return self

    # ------------------------------------------------------------------ jobs

    def submit(self, job):
        path = self.root / "job.yaml"
        path.write_text(json.dumps(job))
        try:
            out = run("job", "submit", path, "--as", self.researcher, "--format", "json")
        except CommandFailed as failure:
            failure.args = (f"{failure.args[0]}{self.coordinator.tail()}",)
            raise
        return json.loads(out)["job_id"]

    def show(self, job_id):
        return json.loads(run("job", "show", job_id, "--as", self.researcher, "--format", "json"))

    def wait_job(self, job_id):
        """Waits until the job has ended, however, and shows it."""
        try:
            run("job", "watch", job_id, "--as", self.researcher)
        except CommandFailed as failure:
            if failure.returncode not in (6, 7):
                raise
        return self.show(job_id)

    def train(self, job):
        job_id = self.submit(job)
        shown = self.wait_job(job_id)
        if shown["job"]["state"] != "JOB_STATE_COMPLETED":
            raise AssertionError(json.dumps(shown, indent=1) + self.coordinator.tail())
        return job_id, shown

    def pull(self, job_id):
        out = self.root / f"model-{job_id}"
        run("model", "pull", job_id, "--as", self.researcher, "--out", out)
        return out

    def close(self):
        for process in self.processes:
            if process.child.poll() is None:
                process.child.kill()
        for process in self.processes:
            process.wait()
            process.child.stderr.close()
        shutil.rmtree(self.root, ignore_errors=True)
        for process in self.processes:
            check_sanitizers(process.name, process.text())


def states(round_record):
    """Site → state of one round record."""
    return {s["site"]: s["state"] for s in round_record["sites"]}


def real_data(relative_path):
    """A file of the real health data, or nothing on a machine that has none: the data are no part of the product."""
    root = os.environ.get("CHORALE_DATA") or pathlib.Path(__file__).resolve().parents[2].parent / "shared" / "data"
    path = pathlib.Path(root) / relative_path
    return path if path.is_file() else None


def safetensors_data(path):
    """The flat data of a safetensors file, without its header, which names the job."""
    content = path.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little"):]


def load_safetensors(path):
    """Name → array, by the format's description; safetensors_test.py compares with the package of that name."""
    content = path.read_bytes()
    header = json.loads(content[8:8 + int.from_bytes(content[:8], "little")])
    data = safetensors_data(path)
    return {name: numpy.frombuffer(data[slice(*entry["data_offsets"])],
                                   {"F32": "<f4", "F64": "<f8"}[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in header.items() if name != "__metadata__"}
