"""Processes of their own for commands and programs, forked from one that has imported everything.

A new interpreter spends seconds on imports, and most kills at random moments would meet these.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from support.programs import PROGRAMS


@dataclass
class Result:
    """How a process ended: its exit code, negative for a signal, and its output."""

    code: int
    out: str
    err: str

    @property
    def error(self):
        """The last line on stderr, after the progress bars."""
        return self.err.strip().splitlines()[-1]


class Process:
    """A process that was started by a `ForkServer`; it has no child processes."""

    def __init__(self, server, pid, out, err):
        self._server, self._pid, self._out, self._err = server, pid, out, err
        self._lock = threading.Lock()

    @property
    def err(self):
        """What the process has written to stderr so far."""
        return _read(self._err)

    def send_signal(self, number):
        """Send a signal, unless the process has ended."""
        with self._lock:
            if self._pid is not None:
                os.kill(self._pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def wait(self):
        """Wait for the end of the process; one process of a server at a time."""
        assert self._server.ask({"wait": self._pid}) == "ended"
        with self._lock:
            self._pid = None
        code = int(self._server.ask("confirmed"))
        return Result(code, _read(self._out), self.err)


def _read(path):
    """The text of a file; a process may be killed before it has created its output."""
    return path.read_text() if path.exists() else ""


class ForkServer:
    """Starts `platelet-em`, or a file of `programs/`, in processes of their own.

    Args:
        folder: Where the output of the processes goes.
        environment: Environment variables for all of them, set before the imports.
        command: First arguments of each command.
    """

    def __init__(self, folder, environment, *command):
        self._folder, self._command, self._numbers = Path(folder), command, itertools.count()
        environment = {**os.environ, **environment}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        self._server = subprocess.Popen(
            [sys.executable, PROGRAMS / "fork_server.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def start(self, *arguments, program=None, **environment):
        """Start the command with these arguments, or a program with these arguments."""
        number = next(self._numbers)
        out, err = (self._folder / f"{name}-{number}" for name in ("out", "err"))
        command = self._command if program is None else ()
        order = {
            "program": program and str(PROGRAMS / program),
            "arguments": [*map(str, (*command, *arguments))],
            "environment": environment,
            "out": str(out),
            "err": str(err),
        }
        return Process(self, int(self.ask(order)), out, err)

    def __call__(self, *arguments, program=None, **environment):
        """Run the command or the program to its end."""
        return self.start(*arguments, program=program, **environment).wait()

    def ask(self, order):
        """Send a line to the server; returns the line that it answers."""
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return self._server.stdout.readline().strip()

    def close(self):
        """End the server."""
        self._server.communicate()
