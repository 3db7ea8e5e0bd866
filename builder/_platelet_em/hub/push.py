"""Upload of a built repository to the Hub: the files that differ, and one commit.

Files are compared by the hashes that the Hub lists. New and changed files are uploaded before the
commit; the Hub keeps them, so a push that was interrupted sends only the rest. The commit adds,
changes and deletes all files at once, on top of the commit that was compared with: no reader sees
files of two builds, and two pushes at the same time do not mix.

The client's `upload_folder` is not used, since it commits in batches over Xet.
"""

import difflib
import hashlib
import os
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd
from huggingface_hub.hf_api import RepoFile

from _platelet_em import __version__
from _platelet_em.description.write import describe_spec
from _platelet_em.errors import ArgumentError, OutputError, printable, quote
from _platelet_em.facts import LABEL_SOURCES, PUBLISHED, is_published
from _platelet_em.files import user_path
from _platelet_em.hub.branch import MAIN, BranchState, HubBranch
from _platelet_em.hub.build import build, one_build_at_a_time, plan_record
from _platelet_em.hub.card import SYNTHETIC_MARK, is_edited, seal_card, unseal_card
from _platelet_em.hub.integrity import inspect_repository, read_build
from _platelet_em.hub.layout import CARD, is_built, is_repository_file, repository_files
from _platelet_em.hub.push_result import Change, PushResult
from _platelet_em.hub.record import SYNTHETIC, Record, origin_warning
from _platelet_em.hub.stored_spec import stored_spec
from _platelet_em.publisher.cache import download_folder
from _platelet_em.rows.make import CONFIGS
from _platelet_em.sources.opening import check_label_source
from _platelet_em.spec import DatasetSpec

__all__ = ["push"]

_LATER = tuple(f"{config.name}/" for config in CONFIGS if config.since > 1)
"""Folders of configurations that cards of schema 1 do not have."""

_DIFF_LINES = 20
"""Lines of an edited card that are shown."""


def push(
    repo_id: str,
    folder: str | Path | None = None,
    *,
    private: bool = False,
    revision: str | None = None,
    message: str | None = None,
    tag: str | None = None,
    create_pr: bool = False,
    overwrite_card: bool = False,
    dry_run: bool = False,
    token: str | None = None,
    data_dir: str | Path | None = None,
    label_source: str | None = None,
    cache_dir: str | Path | None = None,
    with_test: bool = False,
    num_proc: int = 1,
    spec: DatasetSpec = PUBLISHED,
) -> PushResult:
    """Upload a built repository to the Hub, after building it if necessary.

    Only files that a build writes are uploaded. Files of an earlier push that this build does not
    have are deleted; files of other names stay. The card's examples get the repository's name.

    Args:
        repo_id: USER/NAME, or NAME for a repository of the token's user; it is created if it does
            not exist.
        folder: A built repository, which is uploaded as it is, or where to build one. None builds
            in the cache.
        private: Whether a new repository is private; an existing one must be.
        revision: The branch, created from main if it does not exist; None is main.
        message: The commit message; None names the version of platelet-em.
        tag: A new tag for the result.
        create_pr: Whether to open a pull request instead of changing the branch, which must exist.
        overwrite_card: Whether to replace a card that was edited on the Hub.
        dry_run: Whether to change nothing on the Hub, and only report what would change.
        token: None is the one that the Hub client finds: HF_TOKEN, or that of the last login.
        data_dir: As for `build`; a complete build in `folder` must have been made from it.
        label_source: "json" or "tif"; None is that of a complete build, else "json".
        cache_dir: The cache for downloads, and for builds without `folder`.
        with_test: Whether a build that is made has the split "test"; a complete one must have it.
        num_proc: Number of processes of a build that is made; see `build`.
        spec: The dataset.

    Raises:
        ArgumentError: for a label source other than that of a complete build, a complete build
            without the split "test" that was asked for, an invalid branch,
            or a tag that exists or is to be given to a pull request.
        HubError: if the Hub refuses something, or the connection fails.
        OutputError: if the folder contains a damaged build or one of other data; if the
            repository contains somebody else's data or an edited card, or is public although
            `private`.
        PlateletEMError: as `build` does.
    """
    if folder is not None:
        spec = _spec_of(user_path(folder), spec)
    if label_source is not None:
        label_source = check_label_source(label_source, spec)
    if create_pr and tag is not None:
        raise ArgumentError(f"--tag {tag}: a pull request has no tag: tag it once merged")
    # The Hub is asked before the build, so that a wrong token or name is reported at once.
    name = MAIN if revision is None else revision
    spec = spec.with_optional() if with_test else spec
    every = spec.with_optional()  # an earlier push may have had more volumes
    branch = HubBranch(repo_id, name, token, every, may_be_anonymous=dry_run)
    state = before = branch.read_state(private=private)
    every = _with_volumes_there(every, state)
    has_branch = branch.branch == MAIN if state is None else state.has_branch
    if create_pr and (state is None or not has_branch):
        raise ArgumentError(f"{branch.repo_id}: has no branch {name}, which a pull request needs")
    built = _ensure_built(folder, data_dir, label_source, cache_dir, spec, num_proc)
    # Nobody builds in a folder that cannot be written to.
    with one_build_at_a_time(built) if os.access(built, os.W_OK) else nullcontext():
        if (record := read_build(built, spec, pictures=False)) is None:
            raise OutputError(f"{built}: has changed in the meantime: run the same command again")
        additions = _list_additions(built, branch.repo_id, stored_spec(built, spec))
        if state is not None:
            _refuse_lost_data(branch, state, record, built, overwrite_card=overwrite_card)
        elif not dry_run:
            branch.create_repository(private=private)
            state = branch.read_state(private=private)
        there = {} if state is None else _pushed_files(branch.repo_id, state, additions, every)
        changes = _compare(additions, there, every)
        _refuse_moved_tag(state, tag, changes)
        url, commit = branch.url, None
        if state is not None and not dry_run:
            changed = {change.name for change in changes}
            url, commit = branch.send(
                state,
                [addition for addition in additions if addition.path_in_repo in changed],
                [change.name for change in changes if change.action == "delete"],
                message=message or f"Upload a build of platelet-em {__version__}",
                tag=tag,
                create_pr=create_pr,
            )
    return PushResult(
        repo_id=branch.repo_id,
        branch=branch.branch,
        url=url,
        is_new=before is None,
        is_new_branch=not has_branch,
        changes=tuple(changes),
        commit=commit,
        tag=tag,
        warning=origin_warning(record, spec),
        dry_run=dry_run,
    )


def _spec_of(folder: Path, spec: DatasetSpec) -> DatasetSpec:
    """The dataset to push: that of a build in a folder, if no other one is asked for.

    Raises:
        ArgumentError: for a build of another dataset, or of another description of it.
    """
    stored = stored_spec(folder, spec)
    if not is_built(folder) or stored.with_optional() == spec.with_optional():
        return spec
    if is_published(spec):
        return stored
    if _describe(stored) != _describe(spec):
        raise ArgumentError(
            f"{folder}: contains a build of the dataset {printable(stored.name)} by another "
            f"description than that of {spec.name}: build it again with --force, or name another "
            "folder"
        )
    return spec


def _describe(spec: DatasetSpec) -> Any:
    """What a description says, without the files that volumes are read from."""
    volumes = [(volume.name, volume.split, volume.columns) for volume in spec.volumes]
    return describe_spec(spec, volumes=False), volumes


def _with_volumes_there(spec: DatasetSpec, state: BranchState | None) -> DatasetSpec:
    """The dataset with the volumes that an earlier push had, whose files are to be deleted."""
    if state is None or state.described is None:
        return spec
    known = {(volume.name, volume.split) for volume in spec.volumes}
    others = tuple(v for v in state.described.volumes if (v.name, v.split) not in known)
    return replace(spec, volumes=(*spec.volumes, *others))


def _ensure_built(
    folder: str | Path | None,
    data_dir: str | Path | None,
    label_source: str | None,
    cache_dir: str | Path | None,
    spec: DatasetSpec,
    num_proc: int,
) -> Path:
    """The folder of a complete build, after building one where there is none."""
    record = None
    if folder is not None:
        folder = user_path(folder)
        if (record := _read_complete(folder, spec)) is not None:
            _refuse_missing_volume(folder, spec)
    if record is not None and label_source not in (None, record["label_source"]):
        raise ArgumentError(
            f"{folder}: contains {record['label_source']} labels, expected {label_source}: name "
            "another folder, or leave out --label-source"
        )
    label_source = label_source or (record or {}).get(
        "label_source", check_label_source(LABEL_SOURCES[0], spec)
    )
    has_files = data_dir is not None or bool(spec.folder)
    if folder is None or (record is not None and has_files):
        planned = plan_record(data_dir, label_source, cache_dir, spec)
        if folder is None:
            folder = download_folder(cache_dir) / f"built-{planned['fingerprint']}"
            record = read_build(folder, spec)
        elif record is not None and any(
            key in planned and record.get(key) != planned[key]
            for key in ("archive_md5", "test_archive_md5")
        ):
            of, option = (
                ("archives", "--data-dir") if spec.archives else ("files", "--description")
            )
            raise OutputError(
                f"{folder}: contains a build from other {of}: name another folder, or leave out "
                f"{option} to push that build as it is"
            )
    if record is not None:
        return folder
    return build(
        folder,
        data_dir=data_dir,
        label_source=label_source,
        cache_dir=cache_dir,
        num_proc=num_proc,
        spec=spec,
    )


def _refuse_missing_volume(folder: Path, spec: DatasetSpec) -> None:
    there = {volume.name for volume in stored_spec(folder, spec).volumes}
    if missing := [volume.name for volume in spec.volumes if volume.name not in there]:
        raise ArgumentError(
            f"{folder}: contains a build without volume {missing[0]}: build it again with "
            "--with-test (in Python, with_test=True), or push it without"
        )


def _read_complete(folder: Path, spec: DatasetSpec) -> Record | None:
    """The record of the build in a folder; None if no build has written a file there.

    Raises:
        OutputError: for a build that is incomplete or damaged: it is not built over, since
            nothing here knows the archives that it was made from.
    """
    spec = stored_spec(folder, spec)
    files = repository_files(folder, spec)
    for path in files:
        if not os.access(path, os.R_OK):
            raise OutputError(f"{path}: cannot be read: check its permissions")
    if not files or (record := read_build(folder, spec)) is not None:
        return record if files else None
    found = inspect_repository(folder, spec)
    first = printable(str(found.problems[0])) if found.problems else "its record is incomplete"
    others = f", and {len(found.problems) - 1} more problems" if len(found.problems) > 1 else ""
    origin = "the archives that it was made from" if spec.archives else "its description"
    if spec.archives and found.record.keys() >= {"archive", "archive_md5", "label_source"}:
        archive, md5, labels = (
            quote(found.record[key]) for key in ("archive", "archive_md5", "label_source")
        )
        origin = f"{archive} (MD5 {md5}), with {labels} labels"
    raise OutputError(
        f"{folder}: is no complete, undamaged build: {first}{others}: repair it by `platelet-em "
        f"build` from {origin}, or push another folder"
    )


def _list_additions(folder: Path, repo_id: str, spec: DatasetSpec) -> list[CommitOperationAdd]:
    card = seal_card((folder / CARD).read_text("utf-8"), repo_id).encode()
    return [
        CommitOperationAdd(
            path.relative_to(folder).as_posix(), card if path.name == CARD else path
        )
        for path in repository_files(folder, spec)
    ]


def _refuse_lost_data(
    branch: HubBranch, state: BranchState, record: Record, folder: Path, *, overwrite_card: bool
) -> None:
    """Refuse to replace data by the sample, or a card that somebody has edited on the Hub."""
    if record["origin"] == SYNTHETIC and state.is_ours and SYNTHETIC_MARK not in state.card:
        raise OutputError(
            f"{branch.repo_id}: contains the publisher's data, which the synthetic sample would "
            "replace: choose another name"
        )
    there, here = unseal_card(state.card), unseal_card((folder / CARD).read_text("utf-8"))
    if not overwrite_card and there and there != here and is_edited(state.card):
        pushed = branch.find_pushed_card(state) or seal_card(here, branch.repo_id)
        raise OutputError(
            f"{branch.repo_id}: README.md was edited there, and this push would replace it:\n"
            f"{_diff(pushed, state.card)}\ncopy what you want to keep into {folder / CARD}, then "
            "push with --overwrite-card (in Python, overwrite_card=True)"
        )


def _diff(pushed: str, there: str) -> str:
    """The first lines in which a card differs from the pushed one, without control characters."""
    names = ("README.md as pushed", "README.md on the Hub")
    lines = [*difflib.unified_diff(pushed.splitlines(), there.splitlines(), *names, "", "", 0, "")]
    shown = ["".join(c if c.isprintable() else "?" for c in line[:100]) for line in lines]
    more = [f"... and {len(lines) - _DIFF_LINES} more lines"] if len(lines) > _DIFF_LINES else []
    return "\n".join([*shown[:_DIFF_LINES], *more])


def _refuse_moved_tag(state: BranchState | None, tag: str | None, changes: list[Change]) -> None:
    """Refuse a tag that exists, before anything is uploaded; one of this very commit is kept."""
    target = None if state is None or tag is None else state.tags.get(tag)
    if state is not None and target is not None and (changes or target != state.commit):
        raise ArgumentError(f"--tag {tag}: exists at another commit: choose another name")


def _pushed_files(
    repo_id: str, state: BranchState, additions: list[CommitOperationAdd], spec: DatasetSpec
) -> dict[str, RepoFile]:
    """The files on the Hub without those of the owner that have names of other builds.

    A later version has more names than an earlier one: those of a split or a configuration that
    the card there does not state were pushed by somebody else.

    Raises:
        OutputError: for such a file that this push would replace, or make part of the dataset.
    """
    known = spec.without_optional()
    ours = {}
    sent = {_pattern(addition.path_in_repo) for addition in additions}
    for name, file in state.files.items():
        pattern = _pattern(name)
        is_base = is_repository_file(name, known) and not name.startswith(_LATER)
        if is_base or not is_repository_file(name, spec) or pattern in state.card:
            ours[name] = file
        elif pattern in sent:
            raise OutputError(
                f"{repo_id}: contains {name}, which no push has written, and which this one would "
                "replace or make part of the dataset: move it away there, then push again"
            )
    return ours


def _pattern(name: str) -> str:
    """What a card calls a file: the pattern of its shard, or its own name.

    >>> _pattern("slices/test-00000-of-00008.parquet"), _pattern("pictures/volume-test.png")
    ('slices/test-*.parquet', 'pictures/volume-test.png')
    """
    return re.sub(r"-\d+-of-\d+(?=\.parquet$)", "-*", name)


def _compare(
    additions: list[CommitOperationAdd], files: dict[str, RepoFile], spec: DatasetSpec
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
