"""Runs the command `platelet-em`; prints the names of the top modules it imported, as JSON."""

import json
import sys

from _platelet_em.__main__ import run

try:
    code = run()
except SystemExit as end:
    code = end.code
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
sys.exit(code)
