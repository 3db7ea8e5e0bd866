"""Run a program with the standard library and the packages of one folder, and no others.

Arguments: the folder of packages, the program, its arguments.
"""

import runpy
import sys
from pathlib import Path

packages, program, *arguments = sys.argv[1:]
standard = [path for path in sys.path if "site-packages" not in path]
sys.path[:] = [str(Path(program).parent), *standard, packages]
sys.argv = [program, *arguments]
runpy.run_path(program, run_name="__main__")
