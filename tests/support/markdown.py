"""The code blocks of Markdown pages, run in the order of the text as a reader would run them."""

import contextlib
import io
import os
import re
import subprocess
import sys
import sysconfig

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(text):
    """(language, code) of each block of a page."""
    return BLOCK.findall(text)


def enter(folder, monkeypatch):
    """Make a folder the current one, with the command `platelet-em` on the path."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(os.path.abspath, sys.path)))
    command = folder / "bin" / "platelet-em"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m _platelet_em "$@"\n')
    command.chmod(0o755)
    path = [str(command.parent), sysconfig.get_path("scripts"), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(path))


def run(text, name):
    """Run the `sh` and `python` blocks of a page, the latter with common variables.

    A block `output` must be what the block before it has printed. Blocks of other languages are
    not run.

    Args:
        text: The page.
        name: Its name, for tracebacks.

    Returns:
        The languages of the blocks, in order.
    """
    variables, printed = {}, ""
    for language, code in blocks(text):
        if language == "sh":
            command = ["bash", "-euc", code]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            assert done.returncode == 0, f"{name}:\n{code}\n{done.stderr}"
            printed = done.stdout
        elif language == "python":
            stream = io.StringIO()
            with contextlib.redirect_stdout(stream):
                exec(compile(code, name, "exec"), variables)
            printed = stream.getvalue()
        elif language == "output":
            assert strip(printed) == strip(code), f"{name}: what is shown is not what is printed"
    return [language for language, _ in blocks(text)]


def strip(text):
    """A text without blanks at the ends of lines."""
    return [line.rstrip() for line in text.strip().splitlines()]
