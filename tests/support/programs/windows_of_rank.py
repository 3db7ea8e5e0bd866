"""Read one rank's share of windows in a process group of torch.distributed.

Arguments: repository, cache folder of `datasets`, file of the process group, rank, number of
ranks. Prints, as JSON, the positions that each rank has read, per epoch.
"""

import json
import sys

import datasets
import torch.distributed as dist
from torch.utils.data import DataLoader

from platelet_em import RandomWindows, windows

repository, cache, store, rank, world_size = sys.argv[1:]
volume = datasets.load_dataset(repository, "volumes", split="train", cache_dir=cache)
w = windows(volume, RandomWindows((3, 5, 5), 13), columns=["cells"])
sampler = w.sampler(shuffle=True)
loader = DataLoader(
    w, batch_size=None, sampler=sampler, num_workers=2, collate_fn=lambda window: window
)
assert len(sampler) == 13
# The rank is looked up at each pass: Lightning makes the process group after the loaders.
dist.init_process_group(
    "gloo", init_method=f"file://{store}", rank=int(rank), world_size=int(world_size)
)
assert len(sampler) == len(loader) == 7 - int(rank)
found = []
for _ in range(2):
    mine = [(window["volume"], *window["corner"]) for window in loader]
    shares = [None] * dist.get_world_size()
    dist.all_gather_object(shares, mine)
    found.append(shares)
dist.destroy_process_group()
print(json.dumps(found))
