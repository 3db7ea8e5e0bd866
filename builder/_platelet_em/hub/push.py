"""Upload of a built repository to the Hub: the files that differ, and one commit.

Files are compared by the hashes that the Hub lists. New and changed files are uploaded before the
commit; the Hub keeps them, so a push that was interrupted sends only the rest. The commit adds,
changes and deletes all files at once, on top of the commit that was compared with: no reader sees
files of two builds, and two pushes at the same time do not mix.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd
from huggingface_hub.hf_api import RepoFile

from _platelet_em import __version__
from _platelet_em.errors import ArgumentError, OutputError
from _platelet_em.facts import LABEL_SOURCES, PUBLISHED, DatasetSpec
from _platelet_em.files import user_path
from _platelet_em.hub.branch import MAIN, BranchState, HubBranch
from _platelet_em.hub.build import build, build_fingerprint, one_build_at_a_time
from _platelet_em.hub.integrity import read_build
from _platelet_em.hub.layout import is_repository_file, repository_files
from _platelet_em.publisher.cache import download_folder
from _platelet_em.rows.make import CONFIG_NAMES

__all__ = ["Change", "PushResult", "push"]


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
        url: The web page of the branch.
        is_new: Whether the repository did not exist.
        is_new_branch: Whether the branch did not exist.
        changes: The changes, file by file; files that are equal are not listed.
        commit: Hash of the commit; None without one.
        dry_run: Whether it was a dry run.
    """

    repo_id: str
    branch: str
    url: str
    is_new: bool
    is_new_branch: bool
    changes: tuple[Change, ...]
    commit: str | None
    dry_run: bool

    def describe(self) -> Iterator[str]:
        """Lines for the user: what was done, and how to load the result."""
        would = "would be " if self.dry_run else ""
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
        if not self.dry_run:
            revision = "" if self.branch == MAIN else f", revision={self.branch!r}"
            yield self.url
            yield "import datasets"
            yield f"ds = datasets.load_dataset({self.repo_id!r}, {CONFIG_NAMES[0]!r}{revision})"


def push(
    repo_id: str,
    folder: str | Path | None = None,
    *,
    private: bool = False,
    revision: str | None = None,
    dry_run: bool = False,
    token: str | None = None,
    data_dir: str | Path | None = None,
    label_source: str | None = None,
    cache_dir: str | Path | None = None,
    spec: DatasetSpec = PUBLISHED,
) -> PushResult:
    """Upload a built repository to the Hub, after building it if necessary.

    Only files that a build writes are uploaded. Files of an earlier push that this build does not
    have are deleted; files of other names stay.

    Args:
        repo_id: USER/NAME, or NAME for a repository of the token's user; it is created if it does
            not exist.
        folder: A built repository, or where to build one. A complete build is uploaded as it is
            unless `data_dir` is given and differs from its source. None builds in the cache.
        private: Whether a new repository is private; an existing one must be.
        revision: The branch, created from main if it does not exist; None is main.
        dry_run: Whether to change nothing on the Hub, and only report what would change.
        token: None is the one that the Hub client finds: HF_TOKEN, or that of the last login.
        data_dir: As for `build`.
        label_source: "json" or "tif"; None is that of a complete build, else "json".
        cache_dir: The cache for downloads, and for builds without `folder`.
        spec: The dataset.

    Raises:
        ArgumentError: for a label source other than that of a complete build, or an invalid
            branch.
        HubError: if the Hub refuses something, or the connection fails.
        OutputError: if the repository contains somebody else's data, or is public although
            `private`.
        PlateletEMError: for a folder with other contents, and as `build` does.
    """
    if label_source not in (None, *LABEL_SOURCES):
        raise ArgumentError(f"label_source: expected one of {LABEL_SOURCES}, got {label_source!r}")
    # The Hub is asked before the build, so that a wrong token or name is reported at once.
    name = MAIN if revision is None else revision
    branch = HubBranch(repo_id, name, token, spec, may_be_anonymous=dry_run)
    state = _read_checked_state(branch, private=private)
    is_new = state is None
    built = _ensure_built(folder, data_dir, label_source, cache_dir, spec, dry_run=dry_run)
    with one_build_at_a_time(built):
        additions = _list_additions(built, spec)
        if state is not None:
            branch.check_origin(state, _read_origin(built, spec))
        if state is None and not dry_run:
            branch.create_repository(private=private)
            state = _read_checked_state(branch, private=private)
        has_branch = branch.branch == MAIN if state is None else state.has_branch
        changes = _compare(additions, {} if state is None else state.files, spec)
        commit = None
        if state is not None and not dry_run:
            commit = _send(branch, state, additions, changes)
    return PushResult(
        repo_id=branch.repo_id,
        branch=branch.branch,
        url=branch.url,
        is_new=is_new,
        is_new_branch=not has_branch,
        changes=tuple(changes),
        commit=commit,
        dry_run=dry_run,
    )


def _read_checked_state(branch: HubBranch, *, private: bool) -> BranchState | None:
    state = branch.read_state()
    if state is not None:
        branch.check_may_push(state, private=private)
    return state


def _ensure_built(
    folder: str | Path | None,
    data_dir: str | Path | None,
    label_source: str | None,
    cache_dir: str | Path | None,
    spec: DatasetSpec,
    *,
    dry_run: bool,
) -> Path:
    """The folder of a complete build, after building it if necessary."""
    if folder is not None:
        folder = user_path(folder)
        for path in repository_files(folder, spec):
            if not os.access(path, os.R_OK):
                raise OutputError(f"{path}: cannot be read: check its permissions")
        record = read_build(folder, spec)
        if record is not None and data_dir is None:
            if label_source not in (None, record["label_source"]):
                raise ArgumentError(
                    f"{folder}: contains {record['label_source']} labels, expected "
                    f"{label_source}: build it again with `platelet-em build`, or leave out the "
                    "label source"
                )
            return folder
    label_source = label_source or LABEL_SOURCES[0]
    if folder is None or data_dir is not None:
        fingerprint = build_fingerprint(data_dir, label_source, cache_dir, spec)
        folder = folder or download_folder(cache_dir) / f"built-{fingerprint}"
        record = read_build(folder, spec)
        if record is not None and record["fingerprint"] == fingerprint:
            return folder
        if record is not None and dry_run:
            raise OutputError(
                f"{folder}: contains a build from other archives, which a dry run does not "
                "replace: name another folder, or leave out the archives to compare that build"
            )
    return build(
        folder, data_dir=data_dir, label_source=label_source, cache_dir=cache_dir, spec=spec
    )


def _read_origin(folder: Path, spec: DatasetSpec) -> str:
    """The origin of a build, "publisher" or "synthetic"."""
    record = read_build(folder, spec)
    if record is None:
        raise OutputError(f"{folder}: has changed in the meantime: run the same command again")
    return str(record["origin"])


def _list_additions(folder: Path, spec: DatasetSpec) -> list[CommitOperationAdd]:
    return [
        CommitOperationAdd(path.relative_to(folder).as_posix(), path)
        for path in repository_files(folder, spec)
    ]


def _compare(
    additions: Iterable[CommitOperationAdd], files: dict[str, RepoFile], spec: DatasetSpec
) -> list[Change]:
    """The changes that make the files on the Hub equal to the local ones.

    Args:
        additions: All local files.
        files: Path -> file on the Hub.
        spec: The dataset.
    """
    changes, names = [], set()
    for addition in additions:
        name, size = addition.path_in_repo, addition.upload_info.size
        names.add(name)
        if name not in files:
            changes.append(Change("add", name, size))
        elif not _is_same(addition, files[name]):
            changes.append(Change("change", name, size))
    return changes + [
        Change("delete", name, file.size)
        for name, file in files.items()
        if is_repository_file(name, spec) and name not in names
    ]


def _is_same(addition: CommitOperationAdd, file: RepoFile) -> bool:
    """Whether a local file and one on the Hub have the same content."""
    if addition.upload_info.size != file.size:
        return False
    if file.lfs is not None:
        return addition.upload_info.sha256.hex() == file.lfs.sha256
    with addition.as_file() as opened:
        content = opened.read()
    blob = b"blob %d\0" % len(content) + content
    return hashlib.sha1(blob, usedforsecurity=False).hexdigest() == file.blob_id


def _send(
    branch: HubBranch,
    state: BranchState,
    additions: Iterable[CommitOperationAdd],
    changes: Iterable[Change],
) -> str | None:
    """Create the branch, upload and commit; returns the commit's hash, None without changes."""
    actions = {change.name: change.action for change in changes}
    if not state.has_branch:
        branch.create_branch(state)
    if not actions:
        return None
    uploads = [addition for addition in additions if addition.path_in_repo in actions]
    deletions = [name for name, action in actions.items() if action == "delete"]
    message = f"Upload a build of platelet-em {__version__}"
    return branch.commit(state, uploads, deletions, message)


def _size(changes: Iterable[Change]) -> str:
    size = sum(change.size for change in changes)
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
