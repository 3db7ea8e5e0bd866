"""Running a program, which has to succeed."""

import os
import subprocess


def run(*command, cwd=None, **environment):
    """Run a command, with these variables as well; returns what it printed."""
    done = subprocess.run(
        [*map(str, command)],
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
