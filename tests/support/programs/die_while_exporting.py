"""Export half of a dataset, then die; arguments: the source and the folder to write."""

import os
import signal
import sys

import platelet_em
from _platelet_em.export.objects_table import ObjectsTable


def die(self, volume):
    os.kill(os.getpid(), signal.SIGKILL)


ObjectsTable.add = die  # it is called when the first volume is written
platelet_em.export(*sys.argv[1:], to="tiff")
