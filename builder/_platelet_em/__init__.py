"""The implementation of `platelet_em`, which exports everything public."""

import sys
import warnings

__version__ = "0.1.0"
"""Version of this package, a str."""

if "IPython" in sys.modules:
    # Where a notebook has no widgets, tqdm warns when `datasets` imports it. It stays quiet: bars
    # in notebooks need widgets, see progress.py.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")
        import tqdm.auto  # noqa: F401
