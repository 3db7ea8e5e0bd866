"""What the user names: a path of this machine, or a dataset on the Hub.

A path that exists is a path. So is whatever has the form of a name on the Hub, `USER/NAME`, but
begins with a folder that exists: that is a misspelled path.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from _platelet_em.errors import ArgumentError, MissingMemberError, quote
from _platelet_em.files import user_path

__all__ = ["HubName", "find_location", "is_description"]

_SCHEME = "hf://"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_URL = re.compile(rf"hf://datasets/({_NAME.pattern})(?:@([\w./%-]{{1,200}}))?/?", re.ASCII)


@dataclass(frozen=True, slots=True)
class HubName:
    """A dataset on the Hub.

    Attributes:
        repo_id: USER/NAME.
        revision: A branch, tag or commit; None is the branch that is read by default.
    """

    repo_id: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"hf://datasets/{self.repo_id}" + (f"@{self.revision}" if self.revision else "")


def find_location(text: str | Path) -> Path | HubName:
    """The path, or the name on the Hub, that a text stands for; the Hub is not asked.

    Args:
        text: A path, `USER/NAME`, or `hf://datasets/USER/NAME[@REVISION]`.

    Raises:
        ArgumentError: for an address that is not of this form, or an invalid path.
        MissingMemberError: for a path that does not exist, and cannot be a name on the Hub.
    """
    text = str(text)
    if text.startswith(_SCHEME):
        if (found := _URL.fullmatch(text)) is None:
            raise ArgumentError(
                f"{quote(text)}: expected hf://datasets/USER/NAME, or "
                "hf://datasets/USER/NAME@REVISION"
            )
        revision = found[2]
        return HubName(found[1], revision.replace("%2F", "/") if revision else None)
    path = user_path(text)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        if _NAME.fullmatch(text) and not Path(path.parts[0]).exists():
            return HubName(text)
        raise MissingMemberError(f"{text}: no such file or folder") from error
    except OSError:
        return path  # reading it will say what is wrong with it
    return path


def is_description(path: str | Path) -> bool:
    """Whether an argument that names a source names a description of own volumes.

    >>> is_description("data/my.toml"), is_description("user/my.toml-data")
    (True, False)
    """
    return Path(path).suffix.lower() == ".toml"
