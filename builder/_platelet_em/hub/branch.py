"""One branch of a dataset repository on the Hub: its state, and one commit on top of a state.

A repository is one that this package may change if its card says that platelet-em has written it,
or if it contains nothing but settings and a license.
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from _platelet_em.errors import (
    ArgumentError,
    DescriptionError,
    OutputError,
    SchemaVersionError,
    printable,
)
from _platelet_em.facts import PUBLISHED
from _platelet_em.hub.card import CARD_MARK, is_edited
from _platelet_em.hub.client import client_errors, connect
from _platelet_em.hub.layout import CARD, DESCRIPTION, is_repository_file
from _platelet_em.hub.stored_spec import parse_stored_spec
from _platelet_em.limits import MAX_METADATA
from _platelet_em.rows.make import CONFIG_NAMES
from _platelet_em.rows.schema import SCHEMA_VERSION
from _platelet_em.spec import DatasetSpec

__all__ = ["MAIN", "BranchState", "HubBranch"]

MAIN = "main"
"""The branch that is read by default."""

_REPO_TYPE = "dataset"
_FILES_BEFORE_FIRST_PUSH = (".gitattributes", "LICENSE", "LICENSE.md", "LICENSE.txt")
"""Files that a repository may contain before platelet-em has written its card."""

_SEARCHED_COMMITS = 20
"""Commits in which the last pushed card is searched: each is a request."""

_CARD_SCHEMA = re.compile(rf"{CARD_MARK} \S+ \(schema (\d{{1,9}})\)")
"""How the card states the schema version of the data files."""


@dataclass(frozen=True, slots=True)
class BranchState:
    """A repository at the head of a branch.

    Attributes:
        commit: Hash of the head of the branch; of main's if the branch does not exist yet.
        has_branch: Whether the branch exists.
        is_private: Whether the repository is private.
        files: Path -> size and hashes of the file, as the Hub lists them.
        card: Text of README.md, empty without one.
        tags: Name -> hash of the commit.
        described: The dataset that the repository describes; None for the published one.
    """

    commit: str
    has_branch: bool
    is_private: bool
    files: dict[str, RepoFile]
    card: str
    tags: dict[str, str]
    described: DatasetSpec | None = None

    @property
    def is_ours(self) -> bool:
        """Whether platelet-em has written the card."""
        return CARD_MARK in self.card


class HubBranch:
    """Access to one branch of a dataset repository; neither needs to exist yet.

    Args:
        repo_id: USER/NAME, or NAME for a repository of the token's user.
        branch: Name of the branch.
        token: None is the one that the Hub client finds.
        spec: The dataset.
        may_be_anonymous: Whether to accept a missing token; else the token is checked at once.

    Raises:
        ArgumentError: for an invalid name of a branch.
        HubError: for an invalid repository name or token.
    """

    def __init__(
        self,
        repo_id: str,
        branch: str,
        token: str | None,
        spec: DatasetSpec,
        *,
        may_be_anonymous: bool,
    ) -> None:
        self._spec = spec
        self._api = connect(token)
        self.repo_id, self.branch = repo_id, branch
        if not branch or ".." in branch or branch.startswith(("/", "refs/")):
            raise ArgumentError(
                f"--revision: expected the name of a branch, such as main, got {branch!r}"
            )
        if not may_be_anonymous or "/" not in repo_id:
            with client_errors(self.repo_id):
                user = self._api.whoami()["name"]
            self.repo_id = repo_id if "/" in repo_id else f"{user}/{repo_id}"

    @property
    def url(self) -> str:
        """The web page of the branch."""
        tree = "" if self.branch == MAIN else f"/tree/{quote(self.branch)}"
        return f"{self._api.endpoint}/datasets/{self.repo_id}{tree}"

    def read_state(self, *, private: bool) -> BranchState | None:
        """The current state; None if there is no such repository that the token may see.

        Args:
            private: Whether the files must not become public.

        Raises:
            ArgumentError: if the name of the branch is that of a tag.
            HubError: if the Hub does not answer.
            OutputError: if the repository has no main branch, contains somebody else's data, or
                files that readers would take for data of this dataset or for a script, or is
                public although `private`.
            SchemaVersionError: if its data files have a newer schema.
        """
        state = self._read_state()
        if state is not None:
            self._check_may_push(state, private=private)
        return state

    def _read_state(self) -> BranchState | None:
        with client_errors(self.repo_id):
            try:
                refs = self._api.list_repo_refs(self.repo_id, repo_type=_REPO_TYPE)
            except RepositoryNotFoundError:
                return None
            tags = {tag.name: tag.target_commit for tag in refs.tags}
            if self.branch in tags:
                raise ArgumentError(
                    f"{self.repo_id}: {self.branch} is a tag, expected a branch or a new name"
                )
            heads = {head.name: head.target_commit for head in refs.branches}
            if (commit := heads.get(self.branch) or heads.get(MAIN)) is None:
                raise OutputError(
                    f"{self.repo_id}: has no branch {MAIN}: create it, or choose another name"
                )
            info = self._api.dataset_info(self.repo_id, revision=commit)
            tree = self._api.list_repo_tree(
                self.repo_id, recursive=True, revision=commit, repo_type=_REPO_TYPE
            )
            files = {file.path: file for file in tree if isinstance(file, RepoFile)}
            card = self._read_card(commit) if CARD in files else ""
            described = self._read_spec(commit, files)
        return BranchState(
            commit, self.branch in heads, bool(info.private), files, card, tags, described
        )

    def _read_spec(self, commit: str, files: dict[str, RepoFile]) -> DatasetSpec | None:
        """The dataset that the repository describes; None if it is the published one, or none."""
        if DESCRIPTION not in files or files[DESCRIPTION].size > MAX_METADATA:
            return None
        path = self._api.hf_hub_download(
            self.repo_id, DESCRIPTION, revision=commit, repo_type=_REPO_TYPE
        )
        try:
            return parse_stored_spec(Path(path).read_bytes(), f"{self.repo_id}/{DESCRIPTION}")
        except DescriptionError:  # somebody else's file, or one of a newer version
            return None

    def _read_card(self, commit: str) -> str:
        path = self._api.hf_hub_download(self.repo_id, CARD, revision=commit, repo_type=_REPO_TYPE)
        return Path(path).read_text("utf-8", errors="replace")

    def find_pushed_card(self, state: BranchState) -> str | None:
        """The card as the last push wrote it; None if none of the last commits has it."""
        with client_errors(self.repo_id):
            commits = self._api.list_repo_commits(
                self.repo_id, revision=state.commit, repo_type=_REPO_TYPE
            )
            for commit in commits[:_SEARCHED_COMMITS]:
                with suppress(EntryNotFoundError):
                    if not is_edited(card := self._read_card(commit.commit_id)):
                        return card
        return None

    def _check_may_push(self, state: BranchState, *, private: bool) -> None:
        if private and not state.is_private:
            raise OutputError(
                f"{self.repo_id}: is public, but --private was given: make it private in its "
                "settings, choose another name, or leave out --private"
            )
        there = PUBLISHED.name if state.described is None else state.described.name
        if state.is_ours and there != self._spec.name:
            raise OutputError(
                f"{self.repo_id}: contains the dataset {printable(there)}, which "
                f"{self._spec.name} would replace: choose another name, or delete the files there"
            )
        schema = _CARD_SCHEMA.search(state.card) if state.is_ours else None
        if schema and int(schema[1]) > SCHEMA_VERSION:
            raise SchemaVersionError(
                f"{self.repo_id}: contains files of schema {schema[1]}, and this version of "
                f"platelet-em writes schema {SCHEMA_VERSION}: upgrade it (pip install -U "
                "platelet-em)"
            )
        for name in state.files:
            if not state.is_ours and name not in _FILES_BEFORE_FIRST_PUSH:
                raise OutputError(
                    f"{self.repo_id}: contains {name}, and no card written by platelet-em: choose "
                    "another name, or delete the files there"
                )
            if conflict := self._conflict(name):
                raise OutputError(
                    f"{self.repo_id}: contains {name}, {conflict}: delete it there, then push "
                    "again"
                )

    def _conflict(self, name: str) -> str | None:
        """Why a file of the owner would break the dataset; None if it would not."""
        path = PurePosixPath(name)
        if name == f"{self.repo_id.rpartition('/')[2]}.py":
            return "which `datasets` takes for a loading script"
        if name == ".gitignore":
            return "which makes the Hub leave files out of commits"
        if name in (".huggingface.yaml", "dataset_infos.json"):
            return "which `datasets` takes for the description of this dataset"
        # The card selects data files by the pattern config/split-*.parquet.
        is_selected = str(path.parent) in CONFIG_NAMES and any(
            path.match(f"{split}-*.parquet") for split in self._spec.splits
        )
        if is_selected and not is_repository_file(name, self._spec):
            return "which readers would take for data of this dataset"
        return None

    def create_repository(self, *, private: bool) -> None:
        """Create the repository unless it exists."""
        with client_errors(self.repo_id):
            self._api.create_repo(
                self.repo_id, repo_type=_REPO_TYPE, private=private, exist_ok=True
            )

    def send(
        self,
        state: BranchState,
        additions: list[CommitOperationAdd],
        deletions: list[str],
        *,
        message: str,
        tag: str | None,
        create_pr: bool,
    ) -> tuple[str, str | None]:
        """Create the branch unless it exists, upload, commit on top of a state, and tag.

        Args:
            state: What the branch must still contain.
            additions: Files to add or to replace.
            deletions: Paths of files to delete.
            message: The commit message.
            tag: The tag for the commit, or for `state` if there is nothing to commit.
            create_pr: Whether to open a pull request with the commit.

        Returns:
            The web page of the branch or of the pull request, and the hash of the commit; None
            without one.

        Raises:
            HubError: if the upload or the commit fails, or the branch has changed.
        """
        api, name, kind = self._api, self.repo_id, _REPO_TYPE
        url, oid = self.url, None
        with client_errors(self.repo_id):
            if not state.has_branch:
                api.create_branch(
                    name,
                    branch=self.branch,
                    revision=state.commit,
                    repo_type=kind,
                    exist_ok=True,
                )
            # One file per call: Xet recognizes what was uploaded before only if its call finished.
            for addition in additions:
                api.preupload_lfs_files(
                    name,
                    additions=[addition],
                    revision=self.branch,
                    repo_type=kind,
                    create_pr=create_pr,
                )
            if additions or deletions:
                commit = api.create_commit(
                    name,
                    [*additions, *map(CommitOperationDelete, deletions)],
                    commit_message=message,
                    parent_commit=state.commit,
                    revision=self.branch,
                    repo_type=kind,
                    create_pr=create_pr,
                )
                url, oid = commit.pr_url or url, commit.oid
            if tag is not None:
                api.create_tag(
                    name,
                    tag=tag,
                    revision=oid or state.commit,
                    repo_type=kind,
                    exist_ok=tag in state.tags,
                )
        return url, oid
