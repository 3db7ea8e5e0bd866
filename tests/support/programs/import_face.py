"""Import platelet_em and its command line, and fail if that does more than to register the format.

No optional package can be imported.
"""

import os
import sys

from datasets.features import features  # what importing datasets does is its own affair
from datasets.formatting import get_formatter

OPTIONAL = ("imagecodecs", "matplotlib", "mlcroissant", "skimage", "sklearn", "torch")
CHANGES = ("os.mkdir", "os.remove", "os.rename")


def forbid(event, arguments):
    """Fail at what opens a connection, or changes a file other than a compiled module."""
    if event.startswith("socket.") or event in CHANGES:
        raise AssertionError(f"importing did {event} {arguments}")
    if event == "open" and any(mark in str(arguments[1]) for mark in "wax+"):
        path = str(arguments[0])
        if not path.endswith(".pyc") and "__pycache__" not in path:
            raise AssertionError(f"importing wrote to {arguments}")


assert "torch" not in sys.modules
sys.modules.update(dict.fromkeys(OPTIONAL))  # None makes an import fail
environment, mapping = dict(os.environ), features.Mapping
sys.dont_write_bytecode = True
sys.addaudithook(forbid)
import platelet_em  # noqa: F401, E402

assert features.Mapping is mapping, "importing patches nothing"
get_formatter("platelet_em")
import _platelet_em.commands.actions  # noqa: F401, E402

assert dict(os.environ) == environment
