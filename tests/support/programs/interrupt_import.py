"""Runs the command `platelet-em`, and interrupts it while it imports its modules."""

import sys

from _platelet_em.__main__ import run


class Interrupter:
    def find_spec(self, name, *_):
        if name == "_platelet_em.commands.cli":
            raise KeyboardInterrupt


sys.meta_path.insert(0, Interrupter())
sys.exit(run())
