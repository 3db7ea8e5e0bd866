"""Loads the dataset where no name has an address; prints the traceback, then the last line of it.

Arguments: "load", "builder", or "name", by which `datasets` finds the builder.
"""

import socket
import sys
import time
import traceback

import datasets

import platelet_em

waits = []


def unknown(*arguments, **options):
    raise socket.gaierror(socket.EAI_AGAIN, "no address")


def load(door):
    if door == "load":
        platelet_em.load_dataset()
    elif door == "builder":
        platelet_em.PlateletEM().download_and_prepare()
    else:
        platelet_em.register()
        datasets.load_dataset("platelet_em", "slices")


socket.getaddrinfo = unknown
time.sleep = waits.append
try:
    load(sys.argv[1])
except OSError as error:
    text = "".join(traceback.format_exception(error))
    print(text)
    print(f"waited {len(waits)} times")
    print(text.splitlines()[-1])
