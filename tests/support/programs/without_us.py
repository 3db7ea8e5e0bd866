"""Run a program as if this project were not installed.

Arguments: the folder of packages that it may import, its path, its arguments.
"""

import importlib.util
import runpy
import sys
from pathlib import Path

packages, program, *arguments = sys.argv[1:]
installed = [path for path in sys.path if "site-packages" not in path]
sys.path[:] = [str(Path(program).parent), *installed, packages]
for name in ("platelet_em", "_platelet_em"):
    assert importlib.util.find_spec(name) is None, f"{name} is installed"
sys.argv = [program, *arguments]
runpy.run_path(program, run_name="__main__")
