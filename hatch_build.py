"""Puts `platelet_em.py` into standard wheels as a typed package of one file.

A single module cannot carry the `py.typed` marker, a package can. Editable installs keep the
plain module (`dev-mode-dirs`), since a copy would go stale.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class FaceHook(BuildHookInterface):  # type: ignore[type-arg]  # generic in its stubs only
    """Adds the face and its type marker to the files of a standard wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before the wheel is written; `version` names the build's kind."""
        if version == "standard":
            build_data["force_include"]["platelet_em.py"] = "platelet_em/__init__.py"
            build_data["force_include"]["builder/_platelet_em/py.typed"] = "platelet_em/py.typed"
