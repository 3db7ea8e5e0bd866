"""Two hooks of hatchling: files at the top level of the wheel, and links in the metadata.

`platelet_em.py` becomes a package of one file, since a single module cannot have the `py.typed`
marker. Editable installs use the files in the checkout (`dev-mode-dirs`).
"""

import re
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

LINKS = {
    "Paper": "https://doi.org/10.1038/s41598-021-81590-0",
    "Dataset": "https://github.com/bio3d-vision/bio3d-vision.github.io",
}
"""The paper, and the publisher's repository with the page of the dataset."""


class FaceHook(BuildHookInterface):  # type: ignore[type-arg]  # generic in its stubs only
    """Adds `platelet_em.py` and the template of the card to a standard wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before a build; `version` is "standard" or "editable"."""
        if version == "standard":
            build_data["force_include"]["platelet_em.py"] = "platelet_em/__init__.py"
            build_data["force_include"]["builder/py.typed"] = "platelet_em/py.typed"
            build_data["force_include"]["dataset_card.md"] = "_platelet_em/dataset_card.md"


class LinksHook(MetadataHookInterface):
    """Adds project links, and the README with the addresses of the files that it links to."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by hatchling with the metadata of pyproject.toml."""
        root = Path(self.root)
        repository = self.config["repository"]
        metadata["urls"] = {**LINKS, **project_links(repository)}
        text = (root / "README.md").read_text("utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": absolute_links(text, repository),
        }


def project_links(repository: str) -> dict[str, str]:
    """The links of the project itself; none while its address is not known."""
    if not repository:
        return {}
    return {
        "Source": repository,
        "Issues": f"{repository}/issues",
        "Documentation": f"{repository}/tree/HEAD/docs",
        "Changelog": f"{repository}/blob/HEAD/CHANGELOG.md",
    }


def absolute_links(text: str, repository: str) -> str:
    """Markdown whose links to files of the repository also work elsewhere, such as on PyPI.

    Args:
        text: Markdown.
        repository: Address of the repository; empty changes nothing.
    """
    if not repository:
        return text
    pictures = re.sub(r"(!\[[^]]*\]\()(?!https?:|#)", rf"\1{repository}/raw/HEAD/", text)
    return re.sub(r"((?<!!)\[[^]]*\]\()(?!https?:|#)", rf"\1{repository}/blob/HEAD/", pictures)
