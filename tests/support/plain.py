"""A Python without this project: what everybody has who only installed `datasets`."""

import json
import subprocess
import sys
from pathlib import Path

from support import processes
from support.programs import PROGRAMS

OURS = ("platelet_em", "_platelet_em")


def site_packages_without_us(folder, python=sys.executable):
    """A folder that links to every package of an interpreter except ours; returns its path."""
    folder = Path(folder)
    command = [python, "-I", PROGRAMS / "list_site_packages.py"]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    for root in json.loads(found.stdout):
        for entry in Path(root).iterdir():
            name = entry.name.lower().replace("-", "_")
            link = folder / entry.name
            if not name.startswith(OURS) and not name.endswith(".pth") and not link.exists():
                link.symlink_to(entry)
    return folder


def run(packages, program, *arguments, python=sys.executable, **environment):
    """Run a program that may import these packages only; returns what it printed."""
    command = [python, "-I", PROGRAMS / "without_us.py", packages, program, *arguments]
    return processes.run(*command, **environment)
