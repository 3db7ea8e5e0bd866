"""Hostile files, read in a process of its own with little memory and little time.

`outcomes` reads all its cases in one process, since starting one takes longer than most cases.
"""

import hashlib
import json
import os
import resource
import subprocess
import sys

import numpy as np

from support.programs import PROGRAMS

ROOM = 300 << 20
"""Bytes of memory that a case may take beyond those of the process after its imports."""

SECONDS = 300
"""Seconds of CPU for all cases of a process, which is killed after them: the test fails."""


def outcomes(cases, *path):
    """Read each case.

    Args:
        cases: name -> (reader, file): which function of programs/read_hostile_files.py reads
            which file.
        path: More folders to import from, before all others.

    Returns:
        name -> {"value": ...}, or {"error": class, "ours": bool, "message": str}.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, *sys.path]))}
    done = subprocess.run(
        [sys.executable, PROGRAMS / "read_hostile_files.py"],
        input=json.dumps({name: (reader, str(file)) for name, (reader, file) in cases.items()}),
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    found = dict(json.loads(line) for line in done.stdout.splitlines())
    missing = [name for name in cases if name not in found]
    assert done.returncode == 0, f"ended with {done.returncode} at {missing[:1]}: {done.stderr}"
    return found


def run_command(room, *arguments, stack=8):
    """Run the command `platelet-em` in little memory.

    Args:
        room: MiB of address space beyond that of the process after its imports.
        arguments: Of the command.
        stack: MiB of address space that each new thread takes.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def set_stack():
        _, most = resource.getrlimit(resource.RLIMIT_STACK)
        resource.setrlimit(resource.RLIMIT_STACK, (stack << 20, most))

    return subprocess.run(
        [sys.executable, PROGRAMS / "run_in_little_memory.py", str(room), *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        timeout=1200,  # a process that hangs fails the test
        preexec_fn=set_stack,
    )


def digest(array):
    """Tells the voxels of an array from those of any other."""
    return hashlib.md5(np.ascontiguousarray(array).tobytes()).hexdigest()
