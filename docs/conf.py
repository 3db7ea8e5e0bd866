"""Settings of Sphinx, with which `make docs` builds the pages of this folder into a site."""

import sys
from pathlib import Path

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
smartquotes = False

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
napoleon_use_rtype = False
nitpick_ignore_regex = [
    # Types in signatures that are not on the site.
    ("py:.*", r"(_platelet_em|collections|datasets|numpy|pathlib|typing)\..*"),
]
