"""Unpack the images of an archive, and print the names of the files that this opens for writing.

Arguments: path of the archive.
"""

import json
import sys

from _platelet_em.facts import PUBLISHED
from _platelet_em.publisher.archive import find_source

names = []


def note(event, args):
    """Note the name of a file that is opened for writing."""
    if event == "open" and isinstance(args[0], str) and set(args[1] or "") & set("wax+"):
        names.append(args[0])


sys.addaudithook(note)
find_source(sys.argv[1], "json", PUBLISHED).open("50-images.tif").close()
sys.stdout.write(json.dumps(names))
