"""A Python without this project: what everybody has who only installed `datasets`."""

import json
import os
import subprocess
import sys
from pathlib import Path

from support.programs import PROGRAMS

OURS = ("platelet_em", "_platelet_em")
KINDS = ("images", "semantic", "cell", "organelle")
PLAIN_FEATURES = ("Value", "Image", "List", "Sequence", "ClassLabel")

CHECK = f"import sys, huggingface_hub\n{(PROGRAMS / 'check_rows.py').read_text()}"
"""The checks for code in a string; a program imports `check_rows` instead."""

ROOTS = """
import json, site, sysconfig
print(json.dumps([*map(sysconfig.get_path, ("purelib", "platlib")), *site.getsitepackages()]))
"""


def site_packages_without_us(folder, python=sys.executable):
    """A folder that links to every package that an interpreter has, but ours; returns its path."""
    folder = Path(folder)
    found = subprocess.run([python, "-I", "-c", ROOTS], check=True, capture_output=True, text=True)
    for root in sorted(filter(os.path.isdir, set(json.loads(found.stdout)))):
        for entry in Path(root).iterdir():
            name = entry.name.lower().replace("-", "_")
            link = folder / entry.name
            if not name.startswith(OURS) and not name.endswith(".pth") and not link.exists():
                link.symlink_to(entry)
    return folder


def run(packages, program, *arguments, python=sys.executable, **environment):
    """Run a program, or code in a string, there; returns what it printed."""
    start = (
        f"import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]\n"
        f"sys.path.append({str(packages)!r})\n"
        "import importlib.util\n"
        f"assert not any(map(importlib.util.find_spec, {OURS!r})), 'this project is installed'\n"
    )
    if isinstance(program, Path):
        command = [PROGRAMS / "without_us.py", packages, program]
    else:
        command = ["-c", start + program]
    done = subprocess.run(
        [python, "-I", *command, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
