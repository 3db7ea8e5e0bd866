"""Settings of Sphinx, with which `make docs` builds the pages of this folder into a site."""

import re
import sys
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike
from sphinx.util.typing import stringify_annotation

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "builder")]  # the docstrings of this checkout

from _platelet_em import __version__  # noqa: E402

project = "platelet-em"
version = release = __version__
html_title = f"platelet-em {version}"
html_theme = "furo"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
smartquotes_action = "D"  # dashes; quotes in docstrings are those of code

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3

default_role = "literal"  # single backquotes in docstrings are code
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
python_maximum_signature_line_length = 88
add_module_names = False
napoleon_use_ivar = True
napoleon_use_rtype = False
nitpick_ignore_regex = [
    # Types in signatures that are not on the site.
    ("py:.*", r"(_platelet_em|collections|datasets|numpy|pathlib|typing)\..*|EpochSampler"),
]


def shorten_types(
    app: Any, what: str, name: str, value: Any, options: Any, signature: Any, returned: Any
) -> tuple[str, str] | None:
    """Readable types and defaults in a signature, such as the names of NumPy's type aliases."""
    if signature is None:
        return None
    texts = []
    for text in (signature, returned or ""):
        short = text.replace(stringify_annotation(ArrayLike, "smart"), "~numpy.typing.ArrayLike")
        short = short.replace("<factory>", "{}")  # of dataclasses; Sphinx parses valid Python only
        texts.append(re.sub(_ARRAY, r"~numpy.typing.NDArray[\1]", short))
    return texts[0], texts[1]


_ARRAY = r"~numpy\.ndarray\[tuple\[~typing\.Any, \.\.\.\], ~numpy\.dtype\[([\w.~]+)\]\]"


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", shorten_types)
