"""Read one rank's share of windows in a process group of torch.distributed.

Arguments: repository, cache folder of `datasets`, file of the process group, rank, number of
ranks. Prints, as JSON, the positions that each rank has read, per sampler and epoch.
"""

import json
import sys

import datasets
import torch.distributed as dist
from datasets.distributed import split_dataset_by_node
from torch.utils.data import DataLoader

from platelet_em import GridWindows, RandomWindows, windows

repository, cache, store, rank, world_size = sys.argv[1:]
dist.init_process_group(
    "gloo", init_method=f"file://{store}", rank=int(rank), world_size=int(world_size)
)
volume = datasets.load_dataset(repository, "volumes", split="train", cache_dir=cache)
found = []
for sampler in (GridWindows((3, 12, 12)), RandomWindows((3, 5, 5), 13)):
    stream = windows(volume, sampler, columns=["cells"])
    stream = split_dataset_by_node(stream, dist.get_rank(), dist.get_world_size())
    loader = DataLoader(stream, batch_size=None, num_workers=2, collate_fn=lambda window: window)
    for epoch in (0, 1):
        stream.set_epoch(epoch)
        mine = [(window["volume"], *window["corner"]) for window in loader]
        shares = [None] * dist.get_world_size()
        dist.all_gather_object(shares, mine)
        found.append(shares)
dist.destroy_process_group()
print(json.dumps(found))
