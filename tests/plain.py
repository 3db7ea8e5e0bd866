"""A Python without this project: what everybody has who only installed `datasets`."""

import os
import site
import subprocess
import sys
import sysconfig
from pathlib import Path

OURS = ("platelet_em", "_platelet_em")


def site_packages_without_us(folder):
    """A folder that links to every installed package but ours; returns its path."""
    folder = Path(folder)
    roots = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()}
    for root in sorted(filter(os.path.isdir, roots)):
        for entry in Path(root).iterdir():
            name = entry.name.lower().replace("-", "_")
            link = folder / entry.name
            if not name.startswith(OURS) and not name.endswith(".pth") and not link.exists():
                link.symlink_to(entry)
    return folder


def run(packages, code, *arguments, **environment):
    """Run code there, warnings being errors of ours alone; returns what it printed."""
    start = (
        f"import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]\n"
        f"sys.path.append({str(packages)!r})\n"
        "import importlib.util\n"
        f"assert not any(map(importlib.util.find_spec, {OURS!r})), 'this project is installed'\n"
    )
    command = [sys.executable, "-I", "-c", start + code, *map(str, arguments)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
