"""Trains a small U-Net on volume 50 (split `train`) and evaluates it on volume 24 (`validation`).

With no arguments it draws a synthetic sample and trains on it on the CPU, which takes about 70
seconds of one core. What it learns of the sample says nothing about platelets: the sample is a
drawing in the layout of the data. `--download`, `--data-dir` or `--repo` take the real data.

How it works, top to bottom:
- Windows of three slices, drawn where organelles are, go through a 2D U-Net that takes the slices
  as channels and gives the seven semantic classes of the middle one.
- Predictions of overlapping windows are blended into a volume.
- Instances are 3D connected components: cells of all that is not background, organelles of each
  class, a dense granule's body and core together. So cells that touch become one.

What is measured, on all voxels of `validation`:
- mean IoU of all seven classes, and of the organelles (classes 2 to 6). A class that neither the
  truth nor the prediction has is left out of the mean, and the output names it.
- adjusted Rand index of cells and of organelles, over all voxels; background is one cluster.
- panoptic quality (PQ) of cells and of each kind of organelle; a pair of instances matches at an
  IoU above 0.5. A kind that neither has is left out of the mean, and named.

The published figures are those of Guay et al., Dense cellular segmentation for EM using 2D-3D
neural network ensembles, Sci Rep 11, 2561 (2021), https://doi.org/10.1038/s41598-021-81590-0;
read them there. They are not comparable with what this prints, for that paper
- trains ensembles of 2D-3D networks, where this is one small 2D network, trained for minutes;
- evaluates on volume 24 while it develops, and tests on a third volume (121 x 609 x 400, of
  another donor), which this dataset does not have: figures of volume 24 are no test;
- segments classes: the instances, and so the Rand index and PQ, are this script's own.
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
from torchmetrics.detection import PanopticQuality

import platelet_em

CONTEXT, SIDE, OVERLAP = 3, 96, 32
"""Slices that the network sees, pixels of a window along y and x, pixels that two share."""

BATCH = 8
LEARNING_RATE = 1e-2
CHECKS = 5
"""How often the network is evaluated while it trains."""

CLASS_WEIGHTS = (1, 1, 2, 2, 2, 2, 2)
"""How often a training window is drawn for each class: the rare ones far above their share."""

LOSS_WEIGHTS = (1.0, 1.0, 2.0, 2.0, 2.0, 4.0, 6.0)
"""How much a pixel of each class counts in the loss, for they are few in a window, too."""

KINDS = {
    "mitochondrion": [2],
    "alpha granule": [3],
    "canalicular vessel": [4],
    "dense granule": [5, 6],
}
"""Organelles and their semantic classes: body and core of a dense granule are one organelle."""

MIN_VOXELS = 30
"""Smaller components of a prediction are taken for noise, and are no instances."""

KIND_OF_CLASS = np.zeros(len(platelet_em.CLASS_NAMES), np.uint8)
for _kind, _classes in enumerate(KINDS.values(), start=1):
    KIND_OF_CLASS[_classes] = _kind


# --- data -------------------------------------------------------------------------------------


def load_volumes(arguments, scratch):
    """The two volumes, as a DatasetDict in our format: real ones, or those of a new sample."""
    if arguments.repo:
        return datasets.load_dataset(arguments.repo, "volumes").with_format(platelet_em.FORMAT)
    if arguments.download or arguments.data_dir:
        return platelet_em.load_dataset("volumes", data_dir=arguments.data_dir)
    depth, size = arguments.sample
    platelet_em.write_sample(scratch, depth=depth, size=size)
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


# --- network ----------------------------------------------------------------------------------


def convolutions(inputs, outputs):
    """Two convolutions of 3 x 3 pixels."""
    layers = []
    for channels in (inputs, outputs):
        layers += [
            nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        ]
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
    """Train for one pass over the batches.

    Returns:
        The loss of each step; {step: what `check` gives after it}.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    weights = torch.tensor(LOSS_WEIGHTS)
    random = np.random.default_rng(seed)
    losses, checks = [], {}
    progress = tqdm(batches, total=steps, desc="Training", unit="step")
    for step, batch in enumerate(progress, start=1):
        image, classes = batch["image"], batch["semantic"]  # (n, 3, y, x), (n, 1, y, x)
        turns, is_flipped = random.integers(4), random.integers(2)
        image, classes = (torch.rot90(t, turns, (-2, -1)) for t in (image, classes))
        if is_flipped:
            image, classes = image.flip(-1), classes.flip(-1)
        model.train()
        loss = nn.functional.cross_entropy(model(image), classes[:, 0], weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step == steps or step % max(steps // CHECKS, 1) == 0:
            checks[step] = check()
            progress.set_postfix(loss=f"{losses[-1]:.3f}", mean_iou=f"{checks[step]['all']:.3f}")
    return losses, checks


@torch.no_grad()
def predict(model, volumes, tensors, shape):
    """The class of each voxel of the volume: uint8 (z, y, x)."""
    model.eval()
    step = SIDE - OVERLAP
    grid = platelet_em.GridWindows(
        (CONTEXT, SIDE, SIDE), stride=(1, step, step), label_shape=(1, SIDE, SIDE)
    )
    windows = platelet_em.windows(volumes, grid, columns=["image"])

    def predictions():
        for batch in DataLoader(windows, BATCH, collate_fn=tensors.collate):
            shares = model(batch["image"]).softmax(dim=1)[:, :, None]  # (n, class, 1, y, x)
            yield from zip(batch["corner"], shares, strict=True)

    shares = platelet_em.stitch(predictions(), shape, blend="gaussian", channel_axes=1)
    return shares.argmax(axis=0).astype(np.uint8)


# --- instances and metrics --------------------------------------------------------------------


def components(classes):
    """3D connected components of equal values: int32, 0 is background, as are specks."""
    found = label(classes, connectivity=1).astype(np.int32)
    found[np.bincount(found.ravel())[found] < MIN_VOXELS] = 0
    return found


def class_ious(truth, prediction):
    """IoU by class, of those that the truth or the prediction has."""
    present = np.union1d(truth, prediction)
    scores = jaccard_score(truth.ravel(), prediction.ravel(), labels=present, average=None)
    return dict(zip(present.tolist(), scores.tolist(), strict=True))


def mean_ious(truth, prediction):
    """Mean IoU of all classes and of the organelles; NaN where there is none to take it of."""
    ious = class_ious(truth, prediction)
    organelles = [iou for index, iou in ious.items() if index >= 2]
    return {
        "all": float(np.mean(list(ious.values()))),
        "organelles": float(np.mean(organelles)) if organelles else float("nan"),
    }


def panoptic_qualities(truth, truth_kinds, prediction, prediction_kinds):
    """PQ of instances by kind, of those kinds that the truth or the prediction has.

    Args:
        truth: Ids of instances, 0 where there is none.
        truth_kinds: The kind of the instance at each voxel, from 1; 0 where there is none.
        prediction: As `truth`; ids need not agree.
        prediction_kinds: As `truth_kinds`.
    """
    # Voxels that are background in both count for no instance, and are many.
    held = (truth > 0) | (prediction > 0)
    pairs = [
        torch.from_numpy(np.stack([kinds[held], ids[held]], axis=-1).astype(np.int64))[None]
        for kinds, ids in ((prediction_kinds, prediction), (truth_kinds, truth))
    ]
    present = np.setdiff1d(np.union1d(truth_kinds, prediction_kinds), 0).tolist()
    if not present:
        return {}
    # Background is a category of its own: what is of none would be left out, with the false
    # positives that lie in it.
    metric = PanopticQuality(things=set(present), stuffs={0}, return_per_class=True)
    scores = metric(*pairs)[0].tolist()
    return dict(zip(present, scores[: len(present)], strict=True))  # things come first, ascending


def evaluate(truth, prediction):
    """All figures of a prediction.

    Args:
        truth: The row of the volume, in our format.
        prediction: Classes, uint8 (z, y, x).

    Returns:
        The figures, as they are written to metrics.json; the columns of `truth` as predicted.
    """
    semantic, cells = np.asarray(truth["semantic"]), np.asarray(truth["cells"])
    organelles = np.asarray(truth["organelles"])
    lazy = truth["organelles"]
    kind_of_id = np.zeros(organelles.max() + 1, np.uint8)
    kind_of_id[lazy.ids] = KIND_OF_CLASS[lazy.properties["class_id"]]

    kinds = KIND_OF_CLASS[prediction]
    found_cells, found_organelles = components(prediction > 0), components(kinds)
    kinds = np.where(found_organelles > 0, kinds, 0)
    ious, means = class_ious(semantic, prediction), mean_ious(semantic, prediction)
    cell_pq = panoptic_qualities(cells, cells > 0, found_cells, found_cells > 0)
    kind_pq = panoptic_qualities(organelles, kind_of_id[organelles], found_organelles, kinds)
    figures = {
        "mean IoU": means["all"],
        "organelle mean IoU": means["organelles"],
        "adjusted Rand index, cells": adjusted_rand_score(cells.ravel(), found_cells.ravel()),
        "adjusted Rand index, organelles": adjusted_rand_score(
            organelles.ravel(), found_organelles.ravel()
        ),
        "PQ, cells": cell_pq.get(1, float("nan")),
        "PQ, organelles": float(np.mean(list(kind_pq.values()))) if kind_pq else float("nan"),
    }
    for index, name in enumerate(platelet_em.CLASS_NAMES):
        figures[f"IoU, {name}"] = ious.get(index, float("nan"))
    for kind, name in enumerate(KINDS, start=1):
        figures[f"PQ, {name}"] = kind_pq.get(kind, float("nan"))
    found = {"semantic": prediction, "cells": found_cells, "organelles": found_organelles}
    return figures, found


def print_figures(figures, baseline):
    """A table of the figures, beside those of the baseline."""
    print(f"\n{'on validation':<32} {'U-Net':>7} {'all cell':>9}")
    for name, value in figures.items():
        cells = [f"{v:.3f}" if np.isfinite(v) else "absent" for v in (value, baseline[name])]
        print(f"{name:<32} {cells[0]:>7} {cells[1]:>9}")
    print(
        '"absent": neither in truth nor prediction, and in no mean. "all cell": cell everywhere.'
    )


# --- pictures ---------------------------------------------------------------------------------


def draw_curve(path, losses, checks):
    """The loss of each step, and the IoU on `validation`, as a picture."""
    steps = np.arange(1, len(losses) + 1)
    width = max(len(losses) // 25, 1)
    smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
    figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(8, 7), layout="constrained")
    top.plot(steps, losses, color="0.75", linewidth=1, label="each step")
    top.plot(steps[width - 1 :], smooth, color="tab:blue", label=f"mean of the last {width}")
    top.set(ylabel="cross-entropy on train", ylim=(0, None), title="Learning curve")
    for key, name in (("all", "seven classes"), ("organelles", "organelles (classes 2 to 6)")):
        bottom.plot(checks.keys(), [c[key] for c in checks.values()], marker="o", label=name)
    bottom.set(xlabel=f"step, of {BATCH} windows", ylabel="mean IoU on validation", ylim=(0, 1))
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


# --- the whole --------------------------------------------------------------------------------


def run(arguments, scratch):
    """Load, train, evaluate, and write figures and pictures."""
    volumes = load_volumes(arguments, scratch)
    steps = arguments.steps or (3000 if is_real(arguments) else 200)
    truth = volumes["validation"][0]
    semantic = np.asarray(truth["semantic"])
    tensors = platelet_em.ToTensors(
        # Not by mean and deviation: the volumes differ in their share of bright background.
        normalize="percentile",
        statistics=platelet_em.intensity_statistics(volumes),
        channel_axis=False,  # the slices are the channels
    )
    torch.manual_seed(arguments.seed)
    model = UNet(CONTEXT, len(platelet_em.CLASS_NAMES)).to(memory_format=torch.channels_last)

    def segment():
        return predict(model, volumes["validation"], tensors, semantic.shape)

    batches = training_batches(volumes["train"], tensors, steps, arguments.seed)
    losses, checks = train(
        model, batches, steps, arguments.seed, lambda: mean_ious(semantic, segment())
    )
    prediction = segment()
    figures, found = evaluate(truth, prediction)
    baseline, _ = evaluate(truth, np.ones_like(prediction))
    print_figures(figures, baseline)

    arguments.out.mkdir(parents=True, exist_ok=True)
    record = {"figures": figures, "baseline": baseline, "losses": losses, "checks": checks}
    (arguments.out / "metrics.json").write_text(json.dumps(record, indent=1) + "\n")
    torch.save(model.state_dict(), arguments.out / "unet.pt")
    draw_curve(arguments.out / "learning_curve.png", losses, checks)
    plain = volumes["validation"].with_format(None)[0]  # its masks have the publisher's colours
    colors = np.array(plain["semantic"][0].getpalette(), np.uint8).reshape(-1, 3)
    colors = colors[: len(platelet_em.CLASS_NAMES)]
    draw_prediction(arguments.out / "prediction.png", truth, found, colors)


def is_real(arguments):
    """Whether the data are given, or to be downloaded, and no sample is to be made."""
    return bool(arguments.download or arguments.data_dir or arguments.repo)


def positive(text):
    """An integer of at least 1, from the command line."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {value}")
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
    parser.add_argument("--steps", type=positive, help="default: 200 on the sample, else 3000")
    parser.add_argument("--out", type=Path, default=Path("unet"), help="folder for the results")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same loss")
    parser.add_argument(
        "--threads", type=positive, default=1, help="of PyTorch; another number, another rounding"
    )
    parser.add_argument(
        "--sample",
        type=positive,
        nargs=2,
        default=(12, 512),
        metavar=("DEPTH", "SIZE"),
        help="slices and pixels of the synthetic sample (default: 12 512)",
    )
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
