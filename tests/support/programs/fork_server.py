"""Forks processes on demand, each of which finds everything imported.

Each order is a line of JSON on stdin:

- {"program": path, "arguments": [...], "environment": {...}, "out": path, "err": path} runs a
  Python file, or the command `platelet-em` if "program" is null; the answer is the process id;
- {"wait": id} waits for the end of that process, and answers with "ended"; after one more line of
  input it answers with the exit code. Until then no other process gets the same id.
"""

import gc
import json
import os
import runpy
import sys
import traceback
from pathlib import Path

from PIL import Image

from _platelet_em.commands import actions  # noqa: F401  # imported late by the command
from _platelet_em.commands.cli import main

Image.init()  # imports the parts of Pillow that each process would import otherwise
if os.environ.get("HF_HUB_DISABLE_XET") == "1":
    # Each process would read the certificates of all authorities, which only Xet's client needs.
    os.environ.pop("SSL_CERT_FILE", None)
    os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent)
gc.freeze()  # so that a collection does not copy the memory that processes share


def run(order):
    """What a forked process does; returns its exit code."""
    os.environ.update(order["environment"])
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
    try:
        if order["program"] is None:
            return main(order["arguments"])
        sys.argv = [order["program"], *order["arguments"]]
        runpy.run_path(order["program"], run_name="__main__")
    except Exception:  # noqa: BLE001  # as the interpreter does
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def answer(value):
    print(value, flush=True)


while line := sys.stdin.readline():
    order = json.loads(line)
    if "wait" in order:
        os.waitid(os.P_PID, order["wait"], os.WEXITED | os.WNOWAIT)
        answer("ended")
        sys.stdin.readline()
        answer(os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1]))
    elif child := os.fork():
        answer(child)
    else:
        os._exit(run(order))
