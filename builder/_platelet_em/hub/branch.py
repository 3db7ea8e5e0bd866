"""A dataset repository on the Hub: what it holds, and one commit that changes it.

A repository is taken for ours if its card says so, which costs a few kB to read; one that holds
nothing but its settings and a licence may become ours.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

from _platelet_em import __version__
from _platelet_em.errors import (
    ArgumentError,
    HubError,
    OutputError,
    PlateletEMError,
    SchemaVersionError,
)
from _platelet_em.facts import CONFIG_NAMES, SCHEMA_VERSION, VOLUMES
from _platelet_em.hub.build import is_repository_file
from _platelet_em.hub.card import CARD, CARD_MARK, SYNTHETIC_MARK

__all__ = ["MAIN", "Remote", "State"]

MAIN = "main"
"""The branch that everybody reads."""

_KIND = "dataset"
_HARMLESS = (".gitattributes", "LICENSE", "LICENSE.md", "LICENSE.txt")
"""What may lie in a repository that is not ours yet."""

_SCHEMA = re.compile(r"\(schema (\d{1,9})\)")
"""How the card tells the schema."""

_AGAIN = "run the same command again, what has been uploaded is not sent twice"
_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN to a token that may write there"
_REMEDIES = {
    400: f"put right what it says, then {_AGAIN}",
    401: _LOG_IN,
    403: _LOG_IN,
    404: "check the name, and that the token may see it",
    412: "somebody has changed it meanwhile: run the same command again",
    429: f"wait some minutes, then {_AGAIN}",
}


@dataclass(frozen=True, slots=True)
class State:
    """A repository at one commit.

    Attributes:
        commit: Hash of the head of the branch, or of main's where there is no such branch yet.
        has_branch: Whether there is.
        is_private: Whether only its owner sees it.
        files: Path -> what the Hub lists of the file: size and hashes.
        card: Text of its README.md, empty if it has none.
    """

    commit: str
    has_branch: bool
    is_private: bool
    files: dict[str, RepoFile]
    card: str


class Remote:
    """One branch of a repository, which may have to be made.

    Args:
        repo_id: USER/NAME, or NAME for one of the token's user.
        branch: Name of the branch.
        token: None is the one that the client finds.
        may_be_anonymous: Whether no token will do; else it is tried out.

    Raises:
        HubError: for a name or a token that cannot be.
    """

    def __init__(
        self, repo_id: str, branch: str, token: str | None, *, may_be_anonymous: bool
    ) -> None:
        self._api = HfApi(token=token, library_name="platelet-em", library_version=__version__)
        self.repo_id, self.branch = repo_id, branch
        if not branch or ".." in branch or branch.startswith(("/", "refs/")):
            raise ArgumentError(
                f"revision: expected the name of a branch, such as main, got {branch!r}"
            )
        if not may_be_anonymous or "/" not in repo_id:
            with self._client_errors():
                user = self._api.whoami()["name"]
            self.repo_id = repo_id if "/" in repo_id else f"{user}/{repo_id}"

    @property
    def address(self) -> str:
        """Its web page."""
        tree = "" if self.branch == MAIN else f"/tree/{quote(self.branch)}"
        return f"{self._api.endpoint}/datasets/{self.repo_id}{tree}"

    def look(self) -> State | None:
        """What it holds now; None if there is no such repository that the token may see.

        Raises:
            ArgumentError: for a branch that is a tag.
            HubError: if the Hub does not answer.
        """
        with self._client_errors():
            try:
                refs = self._api.list_repo_refs(self.repo_id, repo_type=_KIND)
            except RepositoryNotFoundError:
                return None
            if self.branch in (tag.name for tag in refs.tags):
                raise ArgumentError(
                    f"{self.repo_id}: {self.branch} is a tag, expected a branch or a new name"
                )
            heads = {head.name: head.target_commit for head in refs.branches}
            if (commit := heads.get(self.branch) or heads.get(MAIN)) is None:
                raise OutputError(
                    f"{self.repo_id}: has no branch {MAIN}: make it there, or choose another name"
                )
            info = self._api.dataset_info(self.repo_id, revision=commit)
            tree = self._api.list_repo_tree(
                self.repo_id, recursive=True, revision=commit, repo_type=_KIND
            )
            files = {file.path: file for file in tree if isinstance(file, RepoFile)}
            card = ""
            if CARD in files:
                path = self._api.hf_hub_download(
                    self.repo_id, CARD, revision=commit, repo_type=_KIND
                )
                card = Path(path).read_text("utf-8", errors="replace")
        return State(commit, self.branch in heads, bool(info.private), files, card)

    def check(self, state: State, *, private: bool) -> None:
        """Stop before anything is published or replaced there against somebody's will.

        Raises:
            OutputError: for somebody else's data, for files that readers would take for ours or
                for a script, and for a public repository that was to be private.
        """
        if private and not state.is_private:
            raise OutputError(
                f"{self.repo_id}: is public, and was to be private: make it private in its "
                "settings, choose another name, or leave out --private"
            )
        is_ours = CARD_MARK in state.card
        if is_ours and (schema := _SCHEMA.search(state.card)) and int(schema[1]) > SCHEMA_VERSION:
            raise SchemaVersionError(
                f"{self.repo_id}: holds files of schema {schema[1]}, and this version of "
                f"platelet-em writes schema {SCHEMA_VERSION}: upgrade it (pip install -U "
                "platelet-em)"
            )
        for name in state.files:
            if not is_ours and name not in _HARMLESS:
                raise OutputError(
                    f"{self.repo_id}: holds {name}, and no card that platelet-em has written: "
                    "choose another name, or delete what is there"
                )
            if trouble := self._trouble_with(name):
                raise OutputError(
                    f"{self.repo_id}: holds {name}, {trouble}: delete it there, then push again"
                )

    def check_origin(self, state: State, origin: str) -> None:
        """Stop before the synthetic sample takes the place of the publisher's data.

        Raises:
            OutputError: if it would.
        """
        if origin == "synthetic" and CARD_MARK in state.card and SYNTHETIC_MARK not in state.card:
            raise OutputError(
                f"{self.repo_id}: holds the publisher's data, and this is the synthetic sample: "
                "choose another name"
            )

    def _trouble_with(self, name: str) -> str | None:
        """Why a file that is not ours must not stay beside ours."""
        path = PurePosixPath(name)
        if name == f"{self.repo_id.rpartition('/')[2]}.py":
            return "which `datasets` takes for a loading script"
        if name == ".gitignore":
            return "by which the Hub leaves files out of a commit"
        if name in (".huggingface.yaml", "dataset_infos.json"):
            return "which `datasets` takes for the description of this one"
        # The card names data files by such patterns: config/split-*.parquet.
        named = str(path.parent) in CONFIG_NAMES and any(
            path.match(f"{spec.split}-*.parquet") for spec in VOLUMES
        )
        if named and not is_repository_file(name):
            return "which readers would take for data"
        return None

    def create(self, *, private: bool) -> None:
        """Make the repository, unless it is there."""
        with self._client_errors():
            self._api.create_repo(self.repo_id, repo_type=_KIND, private=private, exist_ok=True)

    def create_branch(self, state: State) -> None:
        """Make the branch, unless it is there."""
        with self._client_errors():
            self._api.create_branch(
                self.repo_id,
                branch=self.branch,
                revision=state.commit,
                repo_type=_KIND,
                exist_ok=True,
            )

    def commit(
        self, state: State, uploads: list[CommitOperationAdd], stale: list[str], message: str
    ) -> str:
        """Upload files, then commit them, and the end of stale ones, on top of a known state.

        Returns:
            The hash of the commit.

        Raises:
            HubError: among others if the branch is no longer in that state.
        """
        deletions = [CommitOperationDelete(name) for name in stale]
        with self._client_errors():
            # One by one: the Xet storage knows again only what a finished call has sent to it.
            for upload in uploads:
                self._api.preupload_lfs_files(
                    self.repo_id, additions=[upload], revision=self.branch, repo_type=_KIND
                )
            done = self._api.create_commit(
                self.repo_id,
                [*uploads, *deletions],
                commit_message=message,
                parent_commit=state.commit,
                revision=self.branch,
                repo_type=_KIND,
            )
        return done.oid

    @contextmanager
    def _client_errors(self) -> Iterator[None]:
        """Say in one sentence what the client raises as errors of many kinds."""
        try:
            yield
        except PlateletEMError:
            raise
        except Exception as error:
            raise HubError(f"{self.repo_id}: {_explain(error)}") from error


def _explain(error: BaseException) -> str:
    chain = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(inner)
    for link in chain:
        if isinstance(link, HfHubHTTPError) and link.response is not None:
            status, said = link.response.status_code, _one_line(link.server_message or link)
            return f"the Hub answered {status}, {said}: {_REMEDIES.get(status, _AGAIN)}"
        if isinstance(link, HFValidationError):
            return f"{_one_line(link)}: give it as USER/NAME"
        if isinstance(link, LocalTokenNotFoundError):
            return f"there is no token: {_LOG_IN}"
        if isinstance(link, PermissionError):
            return f"{link.filename}: {link.strerror}: set HF_HOME to a place that can be written"
        if isinstance(link, OfflineModeIsEnabled):
            return "HF_HUB_OFFLINE is set: unset it"
    said = _one_line(chain[-1])
    return f"{type(chain[-1]).__name__}: {said}: look at the connection, and {_AGAIN}"


def _one_line(said: object) -> str:
    return " ".join(str(said).split())[:300]
