"""`PushResult`: what a push has changed on the Hub, or would change, in words for the user."""

from collections.abc import Iterator
from dataclasses import dataclass

from _platelet_em.hub.branch import MAIN
from _platelet_em.rows.make import CONFIG_NAMES

__all__ = ["Change", "PushResult"]


@dataclass(frozen=True, slots=True)
class Change:
    """What a push does to one file.

    Attributes:
        action: "add", "change" or "delete".
        name: Path in the repository.
        size: Bytes of the local file; of the file on the Hub if it is deleted.
    """

    action: str
    name: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PushResult:
    """What a push did, or what a dry run found that it would do.

    Attributes:
        repo_id: USER/NAME.
        branch: The branch.
        url: The web page of the branch, or of the pull request.
        is_new: Whether the repository did not exist.
        is_new_branch: Whether the branch did not exist.
        changes: The changes, file by file; files that are equal are not listed.
        commit: Hash of the commit; None without one.
        tag: The tag of the commit, or of the head of the branch if nothing has changed.
        warning: One line about a build that is not known to be of published data, or "".
        dry_run: Whether it was a dry run.
    """

    repo_id: str
    branch: str
    url: str
    is_new: bool
    is_new_branch: bool
    changes: tuple[Change, ...]
    commit: str | None
    tag: str | None
    warning: str
    dry_run: bool

    def describe(self) -> Iterator[str]:
        """Lines for the user: what was done, and how to load the result."""
        would = "would be " if self.dry_run else ""
        if self.warning:
            yield self.warning
        if self.is_new:
            hidden = ", unless it exists and this token may not see it" if self.dry_run else ""
            yield f"{self.repo_id}: {would}created{hidden}"
        if self.is_new_branch:
            yield f"{self.repo_id}: branch {self.branch} {would}created"
        if self.dry_run:
            for change in self.changes:
                yield f"would {change.action} {change.name} ({_size([change])})"
        sent = [change for change in self.changes if change.action != "delete"]
        deleted = [change for change in self.changes if change.action == "delete"]
        if self.changes:
            yield (
                f"{len(sent)} files ({_size(sent)}) {would}sent, "
                f"{len(deleted)} ({_size(deleted)}) {would}deleted, in one commit"
            )
        else:
            yield f"{self.repo_id}: nothing has changed: nothing to send, no commit"
        if self.tag is not None:
            yield f"{self.repo_id}: {would}tagged {self.tag}"
        if not self.dry_run:
            name = self.tag or self.branch
            revision = "" if name == MAIN else f", revision={name!r}"
            yield self.url
            yield "import datasets"
            yield f"ds = datasets.load_dataset({self.repo_id!r}, {CONFIG_NAMES[0]!r}{revision})"


def _size(changes: list[Change]) -> str:
    size = sum(change.size for change in changes)
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
