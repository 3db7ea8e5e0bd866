"""Write half of a file by `new_file`, then die; argument: the file."""

import os
import signal
import sys
from pathlib import Path

from _platelet_em.files import new_file

with new_file(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
