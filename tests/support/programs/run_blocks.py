"""Run blocks of Python code one after the other, with common variables.

Argument: a JSON file with a list of them. Prints, as JSON, what each has printed.
"""

import contextlib
import io
import json
import sys
from pathlib import Path

variables = {}
printed = []
for code in json.loads(Path(sys.argv[1]).read_text()):
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        exec(compile(code, "README.md", "exec"), variables)
    printed.append(stream.getvalue())
print(json.dumps(printed))
