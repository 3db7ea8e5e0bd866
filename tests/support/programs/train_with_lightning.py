"""Train two epochs with Lightning, in this process, and then in two.

Arguments: windows per epoch, and a file for the corners: for either number of processes, of each
rank, of each epoch, as JSON. Prints ok at the end.
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

    def __init__(self, out):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.out, self.epochs = out, []

    def on_train_epoch_start(self):
        self.epochs.append([])

    def training_step(self, batch, index):
        self.epochs[-1] += batch["corner"]
        return (self.weight * batch["cells"].float().mean()).sum()

    def on_train_end(self):
        shares = [self.epochs]
        if dist.is_initialized():
            shares = [None] * dist.get_world_size()
            dist.all_gather_object(shares, self.epochs)
        if self.global_rank == 0:
            Path(self.out).write_text(json.dumps(shares), "utf-8")

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


if __name__ == "__main__":
    count, out = int(sys.argv[1]), Path(sys.argv[2])
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    found = []
    for processes, strategy in ((1, "auto"), (2, "ddp_fork")):
        w = make_windows(count)
        sampler = w.sampler(shuffle=processes > 1)
        trainer = pytorch_lightning.Trainer(
            max_epochs=2, accelerator="cpu", devices=processes, strategy=strategy, logger=False,
            enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
        )  # fmt: skip
        loader = DataLoader(w, 4, sampler=sampler, collate_fn=platelet_em.collate)
        trainer.fit(Recorder(out), loader)
        found.append(json.loads(out.read_text("utf-8")))
    out.write_text(json.dumps(found), "utf-8")
    print("ok")
