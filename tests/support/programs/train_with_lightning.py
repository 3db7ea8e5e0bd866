"""Train two epochs with Lightning, in one process or as one of several ranks.

Arguments: number of processes, windows per epoch, and file for the corners: those of each epoch,
of each rank, as JSON. Prints ok at the end.
"""

import json
import logging
import sys
import warnings
from pathlib import Path

import pytorch_lightning
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

import platelet_em
from support.windows import make_windows


class Recorder(pytorch_lightning.LightningModule):
    """Learns nothing, and writes down what it sees."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.epochs = []

    def on_train_epoch_start(self):
        self.epochs.append([])

    def training_step(self, batch, index):
        self.epochs[-1] += batch["corner"]
        return (self.weight * batch["cells"].float().mean()).sum()

    def on_train_end(self):
        self.shares = [self.epochs]
        if dist.is_initialized():
            self.shares = [None] * dist.get_world_size()
            dist.all_gather_object(self.shares, self.epochs)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


if __name__ == "__main__":
    processes, count, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    w = make_windows(count)
    loader = DataLoader(
        w, 4, sampler=w.sampler(shuffle=processes > 1), collate_fn=platelet_em.collate
    )
    module = Recorder()
    trainer = pytorch_lightning.Trainer(
        max_epochs=2, accelerator="cpu", devices=processes,
        strategy="ddp" if processes > 1 else "auto", logger=False, enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, loader)
    if trainer.global_rank == 0:
        Path(out).write_text(json.dumps(module.shares), "utf-8")
        print("ok")
