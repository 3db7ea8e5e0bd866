"""Trains a small U-Net on volume 50 (split `train`) and evaluates it on volume 24 (`validation`).

With no arguments it draws a synthetic sample and trains on it on the CPU, which takes about 70
seconds of one core. What it learns of the sample says nothing about platelets: that is a drawing
in the layout of the data. `--download`, `--data-dir` or `--repo` take the real data.

How it works:
- Windows of three slices, drawn where organelles are, go through a 2D U-Net that takes the slices
  as channels and gives the seven semantic classes of the middle one.
- Predictions of overlapping windows are blended into a volume.
- Instances are 3D connected components: cells of all that is not background, organelles of each
  class, a dense granule's body and core together. So cells that touch become one.
- Learning rate and steps were chosen on a sample of seed 1, and the figures that are quoted are of
  seed 0, the default. (Windows and weights had been set earlier, with an eye on seed 0.)

What is measured, on all voxels; what neither the truth nor the prediction has is left out of
means, and the output names it:
- mean IoU of all seven classes, and of the organelles (classes 2 to 6); of as many slices of
  `train`, too, which tells what is not learned from what does not carry over.
- adjusted Rand index of cells and of organelles; background is one cluster.
- panoptic quality (PQ) of cells and of each kind of organelle; a pair of instances matches at an
  IoU above 0.5.

The sample has one dense granule in each volume. One window in five holds it, but one example does
not teach the class: on seed 1, 600 steps fit that of `train` and still miss that of `validation`.

The published figures are those of Guay et al., Dense cellular segmentation for EM using 2D-3D
neural network ensembles, Sci Rep 11, 2561 (2021), https://doi.org/10.1038/s41598-021-81590-0: look
for mean IoU and organelle mean IoU in its tables and figures. They are not repeated here, for
there was no access to the paper to check them. What differs:
- the paper is about 2D-3D ensembles; this is one small 2D network, trained for minutes;
- the paper trains on volume 50, evaluates on volume 24, and tests on a third volume (121 x 609 x
  400, second donor, semantic labels only), which this dataset does not have;
- how windows are drawn and what counts as an instance are this script's own choice.
"""

import argparse
import json
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import datasets
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from datasets.utils import tqdm
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from skimage.measure import label
from skimage.metrics import contingency_table
from sklearn.metrics import adjusted_rand_score, jaccard_score
from torch import nn
from torch.utils.data import DataLoader

import platelet_em

CONTEXT, SIDE, OVERLAP = 3, 96, 32
"""Slices that the network sees, pixels of a window along y and x, pixels that two share."""

BATCH = 8
LEARNING_RATE = 3e-3
CHECKS = 5
"""How often the network is evaluated while it trains."""

CLASS_WEIGHTS = (1, 1, 2, 2, 2, 2, 2)
"""How often a training window is drawn for each class: the rare ones far above their share."""

LOSS_WEIGHTS = (1.0, 1.0, 2.0, 2.0, 2.0, 4.0, 6.0)
"""How much a pixel of each class counts in the loss, for they are few in a window, too."""

KINDS = ("mitochondrion", "alpha granule", "canalicular vessel", "dense granule")
KIND_OF_CLASS = np.uint8([0, 0, 1, 2, 3, 4, 4])
"""By class, from 1: body and core of a dense granule are one organelle."""

MIN_VOXELS = 30
"""Smaller components of a prediction are taken for noise, and are no instances."""


def load_volumes(arguments, scratch):
    """The two volumes, as a DatasetDict in our format: real ones, or those of a new sample."""
    if arguments.repo:
        return datasets.load_dataset(arguments.repo, "volumes").with_format(platelet_em.FORMAT)
    if arguments.download or arguments.data_dir:
        return platelet_em.load_dataset("volumes", data_dir=arguments.data_dir)
    depth, size, seed = arguments.sample
    platelet_em.write_sample(scratch, depth=depth, size=size, seed=seed)
    return platelet_em.load_dataset("volumes", data_dir=scratch, cache_dir=f"{scratch}/cache")


def training_batches(volumes, tensors, steps, seed):
    """Batches of random windows, each read from the volume when it is asked for."""
    sampler = platelet_em.RandomWindows(
        (CONTEXT, SIDE, SIDE),
        count=steps * BATCH,
        label_shape=(1, SIDE, SIDE),
        seed=seed,
        min_foreground=0.01,
        class_weights=CLASS_WEIGHTS,
    )
    windows = platelet_em.windows(volumes, sampler, columns=["image", "semantic"])
    return DataLoader(windows, BATCH, collate_fn=tensors.collate)


def convolutions(inputs, outputs):
    """Two convolutions of 3 x 3 pixels."""
    layers = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """A 2D U-Net: down by halves, up again, with what was there before at each level."""

    def __init__(self, inputs, outputs, widths=(12, 24, 48, 96)):
        super().__init__()
        pairs = list(pairwise(widths))
        self.first = convolutions(inputs, widths[0])
        self.down = nn.ModuleList(convolutions(a, b) for a, b in pairs)
        self.grow = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in pairs)
        self.up = nn.ModuleList(convolutions(2 * a, a) for a, _ in pairs)
        self.last = nn.Conv2d(widths[0], outputs, 1)

    def forward(self, x):
        """Float (n, inputs, y, x) -> (n, outputs, y, x); y and x are multiples of 8."""
        # The CPU is faster with channels last in memory.
        levels = [self.first(x.contiguous(memory_format=torch.channels_last))]
        for down in self.down:
            levels.append(down(nn.functional.max_pool2d(levels[-1], 2)))
        x = levels.pop()
        for grow, up in zip(reversed(self.grow), reversed(self.up), strict=True):
            x = up(torch.cat([levels.pop(), grow(x)], dim=1))
        return self.last(x)


def train(model, batches, steps, seed, check):
    """The loss of each step; {step: what `check` gives after it}, before the last."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    weights = torch.tensor(LOSS_WEIGHTS)
    random = np.random.default_rng(seed)
    losses, checks = [], {}
    progress = tqdm(batches, total=steps, desc="Training", unit="step")
    for step, batch in enumerate(progress, start=1):
        image, classes = batch["image"], batch["semantic"]  # (n, 3, y, x), (n, 1, y, x)
        turns, axes = random.integers(4), [-1] * random.integers(2)  # to flip, or none
        image, classes = (torch.rot90(a, turns, (-2, -1)).flip(axes) for a in (image, classes))
        model.train()
        loss = nn.functional.cross_entropy(model(image), classes[:, 0], weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step < steps and step % max(steps // CHECKS, 1) == 0:
            checks[step] = check()
            progress.set_postfix(checks[step])
    return losses, checks


@torch.no_grad()
def predict(model, volumes, tensors, shape):
    """The class of each voxel of the volume, or of its first slices: uint8, of `shape`.

    The shares of all classes are held at once: 28 bytes a voxel, 430 MB for 24 x 800 x 800.
    """
    model.eval()
    step = SIDE - OVERLAP
    grid = platelet_em.GridWindows(
        (CONTEXT, SIDE, SIDE), stride=(1, step, step), label_shape=(1, SIDE, SIDE)
    )
    windows = platelet_em.windows(volumes, grid, columns=["image"])

    def predictions():
        for batch in DataLoader(windows, BATCH, collate_fn=tensors.collate):
            if batch["corner"][0][0] >= shape[0]:  # windows come slice by slice
                return
            shares = model(batch["image"]).softmax(dim=1)[:, :, None]  # (n, class, 1, y, x)
            yield from zip(batch["corner"], shares, strict=True)

    shares = platelet_em.stitch(predictions(), shape, blend="gaussian", channel_axes=1)
    return shares.argmax(axis=0).astype(np.uint8)


def components(classes):
    """3D connected components of equal values: int32, 0 is background, as are specks."""
    found = label(classes, connectivity=1).astype(np.int32)
    found[np.bincount(found.ravel())[found] < MIN_VOXELS] = 0
    return found


def class_ious(truth, prediction):
    """IoU by class, of those that the truth or the prediction has."""
    # A volume has few pairs of classes and many voxels: count the pairs once.
    pairs = contingency_table(truth, prediction).tocoo()
    present = np.union1d(pairs.row, pairs.col)
    scores = jaccard_score(
        pairs.row, pairs.col, labels=present, average=None, sample_weight=pairs.data
    )
    return dict(zip(present.tolist(), scores.tolist(), strict=True))


def mean_ious(ious):
    """Mean of all classes, and of the organelles; NaN where there is none to take it of."""
    organelles = [iou for index, iou in ious.items() if index >= 2]
    return {
        "mean IoU": float(np.mean(list(ious.values()))),
        "organelle mean IoU": float(np.mean(organelles)) if organelles else float("nan"),
    }


def panoptic_quality(truth, prediction):
    """PQ of the instances of one kind, 0 is none; NaN if there are no instances at all.

    As in torchmetrics, which needs gigabytes and minutes for a volume. At most one instance can
    overlap another with an IoU above 0.5, so a match needs no search.
    """
    shared = contingency_table(truth, prediction).tocoo()
    truth_areas, areas = np.bincount(shared.row, shared.data), np.bincount(shared.col, shared.data)
    ious = shared.data / (truth_areas[shared.row] + areas[shared.col] - shared.data)
    matches = ious[(shared.row > 0) & (shared.col > 0) & (ious > 0.5)]
    instances = np.count_nonzero(truth_areas[1:]) + np.count_nonzero(areas[1:])
    return float(2 * matches.sum() / instances) if instances else float("nan")


def evaluate(truth, prediction):
    """All figures of predicted classes, (z, y, x), and the columns of `truth` as predicted."""
    semantic, cells = np.asarray(truth["semantic"]), np.asarray(truth["cells"])
    lazy = truth["organelles"]
    organelles = np.asarray(lazy)
    kind_of_id = np.zeros(organelles.max() + 1, np.uint8)
    kind_of_id[lazy.ids] = KIND_OF_CLASS[lazy.properties["class_id"]]
    kinds = KIND_OF_CLASS[prediction]
    found_cells, found_organelles = components(prediction > 0), components(kinds)

    ious = class_ious(semantic, prediction)
    kind_pq = {}
    for kind, name in enumerate(KINDS, start=1):
        of_kind = organelles * (kind_of_id[organelles] == kind), found_organelles * (kinds == kind)
        kind_pq[name] = panoptic_quality(*of_kind)
    known = [pq for pq in kind_pq.values() if np.isfinite(pq)]
    organelle_rand = adjusted_rand_score(organelles.ravel(), found_organelles.ravel())
    figures = {
        **mean_ious(ious),
        "adjusted Rand index, cells": adjusted_rand_score(cells.ravel(), found_cells.ravel()),
        "adjusted Rand index, organelles": organelle_rand,
        "PQ, cells": panoptic_quality(cells, found_cells),
        "PQ, organelles": float(np.mean(known)) if known else float("nan"),
        **{f"IoU, {n}": ious.get(k, float("nan")) for k, n in enumerate(platelet_em.CLASS_NAMES)},
        **{f"PQ, {name}": pq for name, pq in kind_pq.items()},
    }
    found = {"semantic": prediction, "cells": found_cells, "organelles": found_organelles}
    return figures, found


def draw_curve(path, losses, checks, train_means):
    """The loss of each step, and IoUs on `validation`, at the end on `train`: a picture."""
    steps = np.arange(1, len(losses) + 1)
    width = max(len(losses) // 25, 1)
    smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
    figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(8, 7), layout="constrained")
    top.plot(steps, losses, color="0.75", linewidth=1, label="each step")
    top.plot(steps[width - 1 :], smooth, color="tab:blue", label=f"mean of the last {width}")
    top.set(ylabel="cross-entropy on train", ylim=(0, None), title="Learning curve")
    for key in ("mean IoU", "organelle mean IoU"):
        values = [check[key] for check in checks.values()]
        line = bottom.plot(checks.keys(), values, marker="o", label=f"{key}, validation")
        bottom.plot(len(losses), train_means[key], "*", color=line[0].get_color(), markersize=12)
    bottom.plot([], [], "*k", markersize=12, label="the same on train, at the end")
    bottom.set(xlabel=f"step, of {BATCH} windows", ylabel="mean IoU", ylim=(0, 1))
    for axes in (top, bottom):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def like_truth(truth, found):
    """Found ids, each as the id of the truth that it overlaps most, so that colours agree."""
    table = contingency_table(truth, found).toarray()
    table[0] = 0
    best = table.argmax(axis=0)
    # What overlaps none gets an id of its own, beyond those of the truth.
    best = np.where(table.any(axis=0), best, len(table) + np.arange(len(best)))
    best[0] = 0
    return best[found]


def draw_prediction(path, truth, found, colors):
    """The middle slice of `validation`: image, classes and instances, truth beside prediction."""
    z = len(found["semantic"]) // 2
    matched = {k: like_truth(np.asarray(truth[k]), found[k]) for k in ("cells", "organelles")}
    figure, axes = plt.subplots(2, 4, figsize=(16, 8.6), layout="constrained")
    classes = {"cmap": ListedColormap(colors / 255), "vmin": 0, "vmax": len(colors) - 1}
    shades = mpl.colormaps["hsv"](np.arange(997) * 0.618034 % 1)
    shades[0] = (0, 0, 0, 1)
    instances = {"cmap": ListedColormap(shades), "vmin": 0, "vmax": 996}
    is_wrong = truth["semantic"][z] != found["semantic"][z]
    panels = [
        ("image", truth["image"][z], {"cmap": "gray"}),
        ("classes: truth", truth["semantic"][z], classes),
        ("classes: prediction", found["semantic"][z], classes),
        (f"wrong: {is_wrong.mean():.1%} of pixels", is_wrong, {"cmap": "gray_r"}),
        ("cells: truth", truth["cells"][z] % 997, instances),
        ("cells: prediction", matched["cells"][z] % 997, instances),
        ("organelles: truth", truth["organelles"][z] % 997, instances),
        ("organelles: prediction", matched["organelles"][z] % 997, instances),
    ]
    for panel, (title, picture, style) in zip(axes.flat, panels, strict=True):
        panel.imshow(picture, interpolation="nearest", **style)
        panel.set(title=title, xlabel="x [px]", ylabel="y [px]")
        panel.label_outer()
    names = platelet_em.CLASS_NAMES
    patches = [Patch(color=c / 255, label=n) for c, n in zip(colors, names, strict=True)]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(names))
    figure.suptitle(f"Volume {truth['volume']}, slice z = {z}; pixels are about 10 nm")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def run(arguments, scratch):
    """Load, train, evaluate, and write figures and pictures."""
    volumes = load_volumes(arguments, scratch)
    is_sample = not (arguments.repo or arguments.data_dir or arguments.download)
    steps = arguments.steps or (400 if is_sample else 3000)
    # Now, for a place that cannot be written to is no news to get after training.
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=arguments.out):
        pass
    truth = volumes["validation"][0]
    tensors = platelet_em.ToTensors(
        normalize="percentile",  # each volume by its own: volume 24 is brighter
        statistics=platelet_em.intensity_statistics(volumes),
        channel_axis=False,  # the slices are the channels
    )
    torch.manual_seed(arguments.seed)
    model = UNet(CONTEXT, len(platelet_em.CLASS_NAMES)).to(memory_format=torch.channels_last)

    def segment(split):
        """Truth and prediction, of no more slices than `validation` has."""
        semantic = volumes[split][0]["semantic"][: truth["semantic"].shape[0]]
        return semantic, predict(model, volumes[split], tensors, semantic.shape)

    def check(split):
        return mean_ious(class_ious(*segment(split)))

    batches = training_batches(volumes["train"], tensors, steps, arguments.seed)
    losses, checks = train(model, batches, steps, arguments.seed, lambda: check("validation"))
    figures, found = evaluate(truth, segment("validation")[1])
    checks[steps] = {key: figures[key] for key in ("mean IoU", "organelle mean IoU")}
    train_means = check("train")
    for title, values in (("validation", figures), ("train", train_means)):
        print(f"\n{'on ' + title:<32}  U-Net")
        for name, value in values.items():
            print(f"{name:<32} {f'{value:.3f}' if np.isfinite(value) else 'absent':>6}")

    record = {"figures": figures, "train": train_means, "losses": losses, "checks": checks}
    (arguments.out / "metrics.json").write_text(json.dumps(record, indent=1) + "\n")
    torch.save(model.state_dict(), arguments.out / "unet.pt")
    draw_curve(arguments.out / "learning_curve.png", losses, checks, train_means)
    plain = volumes["validation"].with_format(None)[0]  # its masks have the publisher's colours
    colors = np.reshape(plain["semantic"][0].getpalette()[: 3 * 7], (-1, 3))
    draw_prediction(arguments.out / "prediction.png", truth, found, colors)


def at_least_one(text):
    """An integer from 1 on, of the command line."""
    value = int(text)
    if value < 1:
        msg = f"expected at least 1, got {value}"
        raise argparse.ArgumentTypeError(msg)
    return value


def parse_arguments():
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="""\
examples:
  python examples/train_unet.py                              # a synthetic sample
  python examples/train_unet.py --download                   # the publisher's archive
  python examples/train_unet.py --data-dir archives          # the same, already there
  python examples/train_unet.py --repo USER/platelet-em --steps 10000 --threads 8""",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--download", action="store_true", help="take the publisher's archive")
    source.add_argument("--data-dir", metavar="ARCHIVES", help="zip, or folder with the zips")
    source.add_argument("--repo", help="built by platelet-em build: a folder, or a Hub id")
    parser.add_argument("--steps", type=at_least_one, help="default: 400 on the sample, else 3000")
    parser.add_argument("--out", type=Path, default=Path("unet"), help="folder for the results")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same loss")
    parser.add_argument("--threads", type=at_least_one, default=1, help="of PyTorch (default: 1)")
    extent = ("DEPTH", "SIZE", "SEED")
    parser.add_argument("--sample", type=int, nargs=3, default=(12, 512, 0), metavar=extent)
    return parser.parse_args()


def main():
    """Run, in a scratch folder for the sample; a failure is one sentence."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    mpl.use("Agg")
    try:
        with tempfile.TemporaryDirectory() as scratch:
            run(arguments, scratch)
    except (platelet_em.PlateletEMError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
