"""Run the command `platelet-em` where no file can be longer than 4 kB; arguments: its own."""

import resource
import signal
import sys

from _platelet_em.commands.cli import main

resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sys.exit(main(sys.argv[1:]))
