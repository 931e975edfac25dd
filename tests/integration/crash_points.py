"""A federation whose programs stop where they are told to, and are killed there (tests/crash_points)."""

import queue
import socket
import threading

import federation


class Points:
    """The connection to one program's crash points."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))
        self._lines = queue.Queue()
        self._stops = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with self._socket.makefile() as lines:
            for line in lines:
                line = line.rstrip("\n")
                if line.startswith("at "):
                    self._stops.put(line[len("at "):])
                else:
                    self._lines.put(line)

    def _say(self, line):
        self._socket.sendall(line.encode() + b"\n")

    def _hear(self):
        return self._lines.get(timeout=federation.WAIT_SECONDS)

    def run(self):
        self._say("run")
        assert self._hear() == "running"

    def stop_at(self, name, passage=1):
        """The passage-th time from now on that the program comes to this point, it stays there."""
        self._say(f"stop {name} {passage}")
        assert self._hear() == "armed"

    def wait_until_stopped(self, timeout=federation.WAIT_SECONDS):
        """The name of the point that the program stands at."""
        return self._stops.get(timeout=timeout)

    def counts(self):
        """Point → passages since the program was started."""
        self._say("counts")
        counts = {}
        while (line := self._hear()) != "end":
            name, _, passages = line.rpartition(" ")
            counts[name] = int(passages)
        return counts

    def close(self):
        # The reader holds the socket too: it must see the end.
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # The program was killed.
        self._reader.join(federation.WAIT_SECONDS)
        self._socket.close()


class StoppableFederation(federation.Federation):
    """Every program waits at its start until its points are set."""

    coordinator_program = "chorale-coordinator-crash-points"
    agent_program = "chorale-site-agent-crash-points"

    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        self.points = {}  # Name of the process → Points
        self.first_stop = {}  # Name of the process → point to stop at when it is started next

    def launched(self, process):
        process.wait_for("crash_points.waiting")
        points = Points(self.root / process.name / "state" / "crash-points")
        if (previous := self.points.get(process.name)) is not None:
            previous.close()
        self.points[process.name] = points
        if (point := self.first_stop.pop(process.name, None)) is not None:
            points.stop_at(point)
        points.run()

    def start_agent(self, name, environment=None):
        # The program that is shipped starts itself again with this.
        return super().start_agent(name, {"OMP_WAIT_POLICY": "passive", **(environment or {})})

    def process(self, name):
        return self.coordinator if name == "coordinator" else self.agents[name]

    def start_again(self, name, stop_at=None):
        """Kills the program and starts it, to stop at this point if one is named."""
        self.process(name).kill()
        if stop_at is not None:
            self.first_stop[name] = stop_at
        if name != "coordinator":
            self.start_agent(name)
        elif stop_at is None:
            self.start_coordinator()
        else:
            self.launch_coordinator()

    def close(self):
        super().close()
        for points in self.points.values():
            points.close()
