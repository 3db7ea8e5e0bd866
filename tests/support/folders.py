"""The content of a built repository."""

import yaml


def contents(folder):
    """Path -> bytes of every file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def front_matter(folder):
    """The YAML metadata of the card."""
    return yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
