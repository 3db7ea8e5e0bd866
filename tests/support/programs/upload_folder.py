"""Upload a folder twice with the client's own `upload_folder`; argument: the folder."""

import sys

from huggingface_hub import HfApi

repository = {"repo_id": "user/platelet-em", "repo_type": "dataset"}
api = HfApi()
for _ in range(2):
    api.create_repo(**repository, exist_ok=True)
    api.upload_folder(**repository, folder_path=sys.argv[1])
print("ok")
