"""Run the command `platelet-em` in little memory; arguments: MiB beyond the imports, its own."""

import resource
import sys
from pathlib import Path

from _platelet_em.commands import actions  # noqa: F401  # imported late by the command
from _platelet_em.commands.cli import main

taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limit = taken + (int(sys.argv[1]) << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sys.exit(main(sys.argv[2:]))
