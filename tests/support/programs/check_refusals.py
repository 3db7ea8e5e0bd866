"""Check what the test Hub refuses; argument: "owner", "other" or "nobody"."""

import sys
from pathlib import Path

import datasets
from huggingface_hub import HfApi, errors

datasets.config.USE_PARQUET_EXPORT = False  # the test Hub has no datasets-server


def refused(error, call, *arguments, **options):
    """The exception that a call raises, which must be of that class."""
    try:
        call(*arguments, **options)
    except error as caught:
        return caught
    raise AssertionError(f"{error} was not raised")


api = HfApi()
data = {"repo_id": "user/data", "repo_type": "dataset"}
refused(errors.RepositoryNotFoundError, api.dataset_info, "user/nothing")
if sys.argv[1] == "owner":
    assert api.whoami()["name"] == "user"
    assert api.list_repo_files(**data) == [".gitattributes", "a/b.txt", "a/c.parquet", "d.txt"]
    refused(errors.RevisionNotFoundError, api.dataset_info, "user/data", revision="no")
    refused(errors.EntryNotFoundError, api.hf_hub_download, filename="no.txt", **data)
    refused(errors.EntryNotFoundError, api.delete_file, "no.txt", **data)
    again = refused(errors.HfHubHTTPError, api.create_repo, "user/data", repo_type="dataset")
    assert again.response.status_code == 409
    main = api.list_repo_refs(**data).branches[0].target_commit
    new = {"path_or_fileobj": b"new", "path_in_repo": "e.txt", "parent_commit": "0" * 40}
    stale = refused(errors.HfHubHTTPError, api.upload_file, **new, **data)
    assert stale.response.status_code == 412
    assert api.list_repo_refs(**data).branches[0].target_commit == main
    api.delete_folder("a", **data)
    assert api.list_repo_files(**data) == [".gitattributes", "d.txt"]
    old = api.hf_hub_download(filename="a/b.txt", revision=main, **data)
    assert Path(old).read_text() == "text"
else:
    new = {"path_or_fileobj": b"new", "path_in_repo": "d.txt"}
    refused(errors.RepositoryNotFoundError, api.hf_hub_download, filename="d.txt", **data)
    refused(errors.RepositoryNotFoundError, api.upload_file, **new, **data)
    refused(errors.HfHubHTTPError, api.create_repo, "user/mine", repo_type="dataset")
    refused(datasets.exceptions.DatasetNotFoundError, datasets.load_dataset, "user/data")
print("ok")
