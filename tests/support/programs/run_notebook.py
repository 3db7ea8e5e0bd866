"""Run a notebook from top to bottom; arguments: the notebook, and where to write it with outputs.

It runs in the current folder.
"""

import sys

import nbformat
from nbclient import NotebookClient

source, target = sys.argv[1:]
notebook = nbformat.read(source, as_version=4)
NotebookClient(notebook, timeout=None, kernel_name="python3").execute()
nbformat.write(notebook, target)
