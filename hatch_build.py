"""Puts the face and the card's template from the top level into standard wheels.

`platelet_em.py` becomes a package of one file, since a single module cannot carry the `py.typed`
marker. Editable installs keep the files where they are (`dev-mode-dirs`): copies would go stale.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class FaceHook(BuildHookInterface):  # type: ignore[type-arg]  # generic in its stubs only
    """Adds the files of the top level to a standard wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before the wheel is written; `version` names the build's kind."""
        if version == "standard":
            build_data["force_include"]["platelet_em.py"] = "platelet_em/__init__.py"
            build_data["force_include"]["builder/py.typed"] = "platelet_em/py.typed"
            build_data["force_include"]["dataset_card.md"] = "_platelet_em/dataset_card.md"
