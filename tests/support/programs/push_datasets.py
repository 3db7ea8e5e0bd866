"""Push loaded datasets with the client's own `push_to_hub`, one of them twice.

Argument: the archives. Prints ok at the end.
"""

import sys

import platelet_em

archives = {"data_dir": sys.argv[1]}
slices = platelet_em.load_dataset(**archives)
assert {split.format["type"] for split in slices.values()} == {"platelet_em"}
slices.push_to_hub("user/slices")
slices.map(lambda row: {"area": int(row["cells"].areas.sum())}).push_to_hub("user/mapped")
# After map or filter, datasets 5.2 pushes no stream with images, in any format.
platelet_em.load_dataset(streaming=True, **archives).push_to_hub("user/stream")
platelet_em.load_dataset("volumes", **archives).push_to_hub("user/slices", "volumes")
slices["validation"].push_to_hub("user/private", split="validation", private=True)
for num_shards in (3, 2):
    slices["train"].push_to_hub("user/twice", num_shards=num_shards)
slices["train"].select([1, 2]).push_to_hub("user/twice", split="validation")
print("ok")
