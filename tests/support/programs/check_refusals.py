"""Check what the test Hub refuses: to another user, to nobody, and to the owner."""

from pathlib import Path

import datasets
from huggingface_hub import HfApi, errors

datasets.config.USE_PARQUET_EXPORT = False  # the test Hub has no datasets-server

DATA = {"repo_id": "user/data", "repo_type": "dataset"}


def refused(error, call, *arguments, **options):
    """The exception that a call raises, which must be of that class."""
    try:
        call(*arguments, **options)
    except error as caught:
        return caught
    raise AssertionError(f"{error} was not raised")


def check_others(token):
    api = HfApi(token=token)
    new = {"path_or_fileobj": b"new", "path_in_repo": "d.txt"}
    refused(errors.RepositoryNotFoundError, api.dataset_info, "user/nothing")
    refused(errors.RepositoryNotFoundError, api.hf_hub_download, filename="d.txt", **DATA)
    refused(errors.RepositoryNotFoundError, api.upload_file, **new, **DATA)
    refused(errors.HfHubHTTPError, api.create_repo, "user/mine", repo_type="dataset")
    not_found = datasets.exceptions.DatasetNotFoundError
    refused(not_found, datasets.load_dataset, "user/data", token=token)


def check_owner():
    api = HfApi()
    assert api.whoami()["name"] == "user"
    assert api.list_repo_files(**DATA) == [".gitattributes", "a/b.txt", "a/c.parquet", "d.txt"]
    refused(errors.RepositoryNotFoundError, api.dataset_info, "user/nothing")
    refused(errors.RevisionNotFoundError, api.dataset_info, "user/data", revision="no")
    refused(errors.EntryNotFoundError, api.hf_hub_download, filename="no.txt", **DATA)
    refused(errors.EntryNotFoundError, api.delete_file, "no.txt", **DATA)
    again = refused(errors.HfHubHTTPError, api.create_repo, "user/data", repo_type="dataset")
    assert again.response.status_code == 409
    main = api.list_repo_refs(**DATA).branches[0].target_commit
    new = {"path_or_fileobj": b"new", "path_in_repo": "e.txt", "parent_commit": "0" * 40}
    stale = refused(errors.HfHubHTTPError, api.upload_file, **new, **DATA)
    assert stale.response.status_code == 412
    assert api.list_repo_refs(**DATA).branches[0].target_commit == main
    api.delete_folder("a", **DATA)
    assert api.list_repo_files(**DATA) == [".gitattributes", "d.txt"]
    old = api.hf_hub_download(filename="a/b.txt", revision=main, **DATA)
    assert Path(old).read_text() == "text"


check_others(token="hf_other")
check_others(token=False)
check_owner()
print("ok")
