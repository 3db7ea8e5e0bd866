"""Imports a module as a notebook without widgets does; prints the warnings and what was drawn.

Arguments: the module.
"""

import importlib
import sys
import warnings
from types import ModuleType, SimpleNamespace

ipython = ModuleType("IPython")
ipython.get_ipython = lambda: SimpleNamespace(config={"IPKernelApp": {}})
kernel = ModuleType("ipykernel.zmqshell")
sys.modules.update({"IPython": ipython, kernel.__name__: kernel, "ipywidgets": None})

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    importlib.import_module(sys.argv[1])
    if sys.argv[1] == "platelet_em":
        from _platelet_em.progress import progress_bar

        for _ in progress_bar(range(3), stage="Counting", unit="number"):
            pass
print(*(str(warning.message) for warning in caught if "IProgress" in str(warning.message)))
