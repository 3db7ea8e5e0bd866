"""Adds `platelet_em.py` and the template of the card, at the top level, to standard wheels.

`platelet_em.py` becomes a package of one file, since a single module cannot have the `py.typed`
marker. Editable installs use the files in the checkout (`dev-mode-dirs`).
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class FaceHook(BuildHookInterface):  # type: ignore[type-arg]  # generic in its stubs only
    """Adds files from the top level of the checkout to a standard wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before a build; `version` is "standard" or "editable"."""
        if version == "standard":
            build_data["force_include"]["platelet_em.py"] = "platelet_em/__init__.py"
            build_data["force_include"]["builder/py.typed"] = "platelet_em/py.typed"
            build_data["force_include"]["dataset_card.md"] = "_platelet_em/dataset_card.md"
