"""The command in processes of their own, forked from one that has imported everything.

Starting anew takes seconds, and a push that is to be killed spends them on importing.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

SERVER = """
import json, os, sys, traceback
from _platelet_em.commands.cli import main

while line := sys.stdin.readline():
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        os.environ.update(order["environment"])
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        code = 0
        try:
            if order["code"]:
                exec(order["code"], {})
            else:
                code = main(order["arguments"])
        except Exception:
            traceback.print_exc()
            code = 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    print(child, flush=True)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    print("ended", flush=True)
    sys.stdin.readline()  # until then nothing else gets its number
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass
class Done:
    """How a run ended: exit code, negative for a signal, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def error(self):
        """The last line on stderr, after the progress bars."""
        return self.err.strip().splitlines()[-1]


class Forked:
    """Runs `platelet-em`, in this environment.

    What is killed has no children of its own.
    """

    def __init__(self, folder, environment, *command):
        self.folder, self.pid, self.lock = Path(folder), None, threading.Lock()
        self.command = command
        environment = {**os.environ, **environment}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def start(self, *arguments, code=None, **environment):
        """Start the command with these arguments, or Python code."""
        out, err = (str(self.folder / name) for name in ("out", "err"))
        order = {"arguments": [*self.command, *map(str, arguments)], "code": code}
        self._tell(json.dumps({**order, "environment": environment, "out": out, "err": err}))
        self.pid = int(self.process.stdout.readline())

    def kill(self):
        """Kill what runs, unless it has ended."""
        with self.lock:
            if self.pid is not None:
                os.kill(self.pid, signal.SIGKILL)

    def wait(self):
        """Wait for the end of what was started."""
        assert self.process.stdout.readline() == "ended\n"
        with self.lock:
            self.pid = None
        self._tell("go on")
        code = int(self.process.stdout.readline())
        return Done(code, *((self.folder / name).read_text() for name in ("out", "err")))

    def __call__(self, *arguments, code=None, **environment):
        """Run to the end."""
        self.start(*arguments, code=code, **environment)
        return self.wait()

    def _tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def close(self):
        """End the process that waits for orders."""
        self.process.communicate()
