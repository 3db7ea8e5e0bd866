"""Putting a built repository on the Hub: what differs is sent, and one commit switches to it.

The Hub is asked what it holds, and files are compared by the hashes that it lists. What is new or
changed is uploaded ahead of the commit: the Hub keeps what has arrived, and a push that was cut
off sends the rest only. The commit adds, changes and deletes all at once, on top of the very
commit that was compared with, so no reader sees files of two builds, and two pushes at a time do
not mix.
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
from _platelet_em.facts import CONFIG_NAMES, LABEL_SOURCES
from _platelet_em.files import user_path
from _platelet_em.hub.branch import MAIN, Remote, State
from _platelet_em.hub.build import (
    build,
    build_fingerprint,
    is_repository_file,
    one_build_at_a_time,
    read_build,
    repository_files,
)
from _platelet_em.publisher.cache import download_folder

__all__ = ["Change", "Push", "push"]


@dataclass(frozen=True, slots=True)
class Change:
    """What a push does to one file.

    Attributes:
        kind: "add", "change" or "delete".
        name: Path in the repository.
        size: Bytes of the file here; of one that is deleted, bytes of the file there.
    """

    kind: str
    name: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """What a push did, or would do.

    Attributes:
        repo_id: USER/NAME.
        branch: Where to.
        address: The web page.
        is_new: Whether the repository did not exist.
        is_new_branch: Whether the branch did not exist.
        changes: File by file; nothing for files that are there already.
        commit: Hash of the commit; None if there was none.
        dry_run: Whether nothing was done.
    """

    repo_id: str
    branch: str
    address: str
    is_new: bool
    is_new_branch: bool
    changes: tuple[Change, ...]
    commit: str | None
    dry_run: bool

    def describe(self) -> Iterator[str]:
        """Lines that say it, and how to load what is there."""
        would = "would be " if self.dry_run else ""
        if self.is_new:
            unseen = ", unless it is there and hidden from this token" if self.dry_run else ""
            yield f"{self.repo_id}: {would}created{unseen}"
        if self.is_new_branch:
            yield f"{self.repo_id}: branch {self.branch} {would}created"
        if self.dry_run:
            for change in self.changes:
                yield f"would {change.kind} {change.name} ({_size([change])})"
        sent = [change for change in self.changes if change.kind != "delete"]
        gone = [change for change in self.changes if change.kind == "delete"]
        if self.changes:
            yield (
                f"{len(sent)} files ({_size(sent)}) {would}sent, "
                f"{len(gone)} ({_size(gone)}) {would}deleted, in one commit"
            )
        else:
            yield f"{self.repo_id}: nothing has changed: nothing to send, no commit"
        if not self.dry_run:
            revision = "" if self.branch == MAIN else f", revision={self.branch!r}"
            yield self.address
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
) -> Push:
    """Upload a built repository to the Hub, after building it if need be.

    Only files that a build writes are uploaded. Those of an earlier push that this one does not
    have are deleted; files of other names that are there stay.

    Args:
        repo_id: USER/NAME, or NAME for one of the token's user; it is made if it does not exist.
        folder: A built repository, or where to build it. A complete one is taken as it is,
            unless `data_dir` says what it should be built from. None builds in the cache.
        private: Whether a repository that is made is private.
        revision: The branch, made from main if it does not exist; None is main.
        dry_run: Whether to change nothing on the Hub, and only say what would be.
        token: None is the one that the client finds: HF_TOKEN, or that of the last login.
        data_dir: As for `build`.
        label_source: "json" or "tif"; None is that of a complete folder, and "json" in a build.
        cache_dir: Where downloads are kept, and what is built without a folder.

    Raises:
        HubError: for whatever the Hub refuses, or a connection that fails.
        OutputError: if the repository there holds somebody else's data, or is public and
            `private` was asked for.
        PlateletEMError: for a folder that holds something else, and as `build` does.
    """
    if label_source not in (None, *LABEL_SOURCES):
        raise ArgumentError(f"label_source: expected one of {LABEL_SOURCES}, got {label_source!r}")
    # The Hub is asked first: a wrong token or name shall not wait for the end of a build.
    remote = Remote(
        repo_id, MAIN if revision is None else revision, token, may_be_anonymous=dry_run
    )
    state = _look_and_check(remote, private=private)
    is_new = state is None
    built = _ensure_built(folder, data_dir, label_source, cache_dir, dry_run=dry_run)
    with one_build_at_a_time(built):
        additions = _read_additions(built)
        if state is not None:
            remote.check_origin(state, _origin(built))
        if state is None and not dry_run:
            remote.create(private=private)
            state = _look_and_check(remote, private=private)
        has_branch = remote.branch == MAIN if state is None else state.has_branch
        changes = _compare(additions, {} if state is None else state.files)
        commit = None
        if state is not None and not dry_run:
            commit = _send(remote, state, additions, changes)
    return Push(
        repo_id=remote.repo_id,
        branch=remote.branch,
        address=remote.address,
        is_new=is_new,
        is_new_branch=not has_branch,
        changes=tuple(changes),
        commit=commit,
        dry_run=dry_run,
    )


def _look_and_check(remote: Remote, *, private: bool) -> State | None:
    state = remote.look()
    if state is not None:
        remote.check(state, private=private)
    return state


def _ensure_built(
    folder: str | Path | None,
    data_dir: str | Path | None,
    label_source: str | None,
    cache_dir: str | Path | None,
    *,
    dry_run: bool,
) -> Path:
    """The folder of a complete build, which is made unless it is there."""
    if folder is not None:
        folder = user_path(folder)
        for path in repository_files(folder):
            if not os.access(path, os.R_OK):
                raise OutputError(f"{path}: cannot be read: check who may read it")
        record = read_build(folder)
        if record is not None and data_dir is None:
            if label_source not in (None, record["label_source"]):
                raise ArgumentError(
                    f"{folder}: holds {record['label_source']} labels, expected {label_source}: "
                    "build it anew with `platelet-em build`, or leave out the label source"
                )
            return folder
    label_source = label_source or LABEL_SOURCES[0]
    if folder is None or data_dir is not None:
        fingerprint = build_fingerprint(data_dir, label_source, cache_dir)
        folder = folder or download_folder(cache_dir) / f"built-{fingerprint}"
        record = read_build(folder)
        if record is not None and record["fingerprint"] == fingerprint:
            return folder
        if record is not None and dry_run:
            raise OutputError(
                f"{folder}: holds a build of other files, which a dry run does not replace: name "
                "another folder, or leave out the archives to compare what is there"
            )
    return build(folder, data_dir=data_dir, label_source=label_source, cache_dir=cache_dir)


def _origin(folder: Path) -> str:
    record = read_build(folder)
    if record is None:
        raise OutputError(
            f"{folder}: has changed while it was to be sent: run the same command again"
        )
    return str(record["origin"])


def _read_additions(folder: Path) -> list[CommitOperationAdd]:
    return [
        CommitOperationAdd(path.relative_to(folder).as_posix(), path)
        for path in repository_files(folder)
    ]


def _compare(additions: Iterable[CommitOperationAdd], there: dict[str, RepoFile]) -> list[Change]:
    """What is to be done to have there what is here."""
    changes, here = [], set()
    for addition in additions:
        name, size = addition.path_in_repo, addition.upload_info.size
        here.add(name)
        if name not in there:
            changes.append(Change("add", name, size))
        elif not _is_same(addition, there[name]):
            changes.append(Change("change", name, size))
    stale = [file for name, file in there.items() if is_repository_file(name) and name not in here]
    return changes + [Change("delete", file.path, file.size) for file in stale]


def _is_same(addition: CommitOperationAdd, there: RepoFile) -> bool:
    if addition.upload_info.size != there.size:
        return False
    if there.lfs is not None:
        return addition.upload_info.sha256.hex() == there.lfs.sha256
    with addition.as_file() as file:
        content = file.read()
    blob = b"blob %d\0" % len(content) + content
    return hashlib.sha1(blob, usedforsecurity=False).hexdigest() == there.blob_id


def _send(
    remote: Remote,
    state: State,
    additions: Iterable[CommitOperationAdd],
    changes: Iterable[Change],
) -> str | None:
    """Make the branch, upload, commit; returns the commit's hash, or None if nothing changes."""
    kinds = {change.name: change.kind for change in changes}
    if not state.has_branch:
        remote.create_branch(state)
    if not kinds:
        return None
    uploads = [addition for addition in additions if addition.path_in_repo in kinds]
    stale = [name for name, kind in kinds.items() if kind == "delete"]
    return remote.commit(state, uploads, stale, f"Upload a build of platelet-em {__version__}")


def _size(changes: Iterable[Change]) -> str:
    size = sum(change.size for change in changes)
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
