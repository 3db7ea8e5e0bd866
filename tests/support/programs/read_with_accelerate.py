"""Read epochs of windows with accelerate in two processes.

Arguments: pairs of a number of windows and `dispatch_batches`, as JSON, and a file for what was
read, as JSON: for each pair, of each epoch, of each process, pairs of the volume's position and
the corner. Prints ok at the end.
"""

import functools
import json
import sys
import warnings
from pathlib import Path

import accelerate
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

import platelet_em
from support.windows import make_windows


def read(count, dispatch):
    """Of each epoch, what each process has read."""
    options = accelerate.DataLoaderConfiguration(dispatch_batches=dispatch, even_batches=False)
    accelerator = accelerate.Accelerator(cpu=True, dataloader_config=options)
    w = make_windows(count)
    collate = functools.partial(platelet_em.collate, tensors=True)
    sampler = w.sampler(shuffle=True)
    loader = accelerator.prepare(DataLoader(w, 4, sampler=sampler, collate_fn=collate))
    epochs = []
    for _ in range(2):
        mine = []
        for batch in loader:
            assert batch["corner"].dtype == batch["volume"].dtype == torch.int64
            assert batch["cells"].dtype == torch.int32
            mine += zip(batch["volume"].tolist(), batch["corner"].tolist(), strict=True)
        shares = [None, None]
        dist.all_gather_object(shares, mine)
        epochs.append(shares)
    return epochs


def main(cases, out):
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    found = [read(*case) for case in json.loads(cases)]
    if dist.get_rank() == 0:
        Path(out).write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    accelerate.debug_launcher(main, (sys.argv[1], sys.argv[2]), num_processes=2)
    print("ok")
