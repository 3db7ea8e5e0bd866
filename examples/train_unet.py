"""Trains a small U-Net on volume 50 (split `train`) and evaluates it on volume 24 (`validation`).

Without arguments it makes a synthetic sample and trains on it on the CPU, which takes about 70
seconds on one core. The figures for the sample say nothing about platelets: it is a drawing in
the layout of the data. `--download`, `--data-dir` or `--repo` use the real data.

How it works:
- Windows of three slices, drawn near organelles, are the input of a 2D U-Net, with the slices as
  channels; it predicts the seven semantic classes of the middle slice.
- The loss weighs classes by the square roots of `platelet_em.targets.class_weights`. Windows near
  organelles contain rare classes more often than the volume does, and the weights themselves are
  too much then. On the sample of seed 1, they gave a mean IoU of 0.28, the square roots 0.50 to
  0.54 (three seeds of the training), and weights chosen by hand 0.43 to 0.55.
- Predictions of overlapping windows are blended to a volume.
- Instances are 3D connected components: cells of all voxels that are not background, organelles
  of each class, with body and core of a dense granule together. Cells that touch become one.
- Learning rate and number of steps were chosen on a sample of seed 1; quoted figures are those of
  seed 0, the default. (Windows and weights had been chosen earlier, with a look at seed 0.)

Metrics, on all voxels, or on the labeled ones of a volume that is labeled in part; a class that
neither truth nor prediction contains is left out of means, and reported as absent:
- mean IoU of all seven classes, and of the organelles (classes 2 to 6). The same on as many slices
  of `train` tells what the network did not learn from what does not generalize.
- adjusted Rand index of cells and of organelles; background is one cluster.
- panoptic quality (PQ) of cells and of each kind of organelle; a pair of instances matches at an
  IoU above 0.5.

`--description` trains on your own volumes, described in a TOML file: on their classes, or without
classes on what is an instance of the first kind and what is not. It evaluates on the first volume
with labels of the split `validation`, else `test`, else `train` itself. Windows are anywhere.
Metrics of instances are those of that kind, without classes.

The sample has few dense granules. One window in five contains one, but so few do not teach the
class.

The published figures are those of Guay et al., Dense cellular segmentation for EM using 2D-3D
neural network ensembles, Sci Rep 11, 2561 (2021), https://doi.org/10.1038/s41598-021-81590-0: see
mean IoU and organelle mean IoU in its tables and figures. They are not repeated here, because
they could not be checked against the paper. Differences:
- the paper is about 2D-3D ensembles; this is one small 2D network, trained for minutes;
- the paper trains on volume 50, evaluates on volume 24, and tests on a third volume (121 x 609 x
  400, second donor, semantic labels of one cell), which only `--with-test` evaluates on;
- the choice of windows and the definition of instances are this script's own.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from itertools import chain, islice, pairwise, repeat
from pathlib import Path

import datasets
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from datasets.utils import tqdm
from matplotlib.colors import ListedColormap, hsv_to_rgb
from matplotlib.patches import Patch
from skimage.measure import label
from skimage.metrics import contingency_table
from sklearn.metrics import adjusted_rand_score, jaccard_score
from torch import nn
from torch.utils.data import DataLoader

import platelet_em

CONTEXT, SIDE, OVERLAP = 3, 96, 32
"""Slices per window, its pixels along y and x, and the pixels that neighboring windows share."""

BATCH, EPOCH = 8, 50
"""Windows per batch, and batches per epoch."""

LEARNING_RATE = 3e-3
CHECKS = 5
"""Number of evaluations during training."""

CLASS_WEIGHTS = (1, 1, 2, 2, 2, 2, 2)
"""How often a training window is drawn for each class; rare ones far more than their share."""

RECENT = 25
"""Number of steps whose mean loss the progress bar shows."""

KINDS = ("mitochondrion", "alpha granule", "canalicular vessel", "dense granule")
KIND_OF_CLASS = np.uint8([0, 0, 1, 2, 3, 4, 4])
"""Class -> kind, from 1; body and core of a dense granule are one organelle."""

MIN_VOXELS = 30
"""Smaller components of a prediction are treated as noise."""

CLASS_COLORS = np.array(
    [
        (0, 0, 0),
        (24, 68, 111),
        (166, 209, 255),
        (167, 129, 9),
        (255, 227, 45),
        (88, 61, 0),
        (129, 101, 253),
    ]
) / 255  # fmt: skip
"""Color of each class, which color-blind readers can tell from those of the others."""

WRONG, DARK = np.uint8([40, 255, 160]), 150 / 255
"""Color of wrong pixels, and the brightness of the image that they are drawn on: they differ from
any of its grays, and from the classes, to color-blind readers as well."""


@dataclass(frozen=True)
class Task:
    """What the network learns.

    Attributes:
        names: Names of the classes.
        kind: Column of instances whose voxels are class 1; None for the column `semantic`.
        partly_labeled: Volumes in which class 0 also means "not labeled".
        part: What the classes from `first` on are called in metrics, and the lowest of them.
        weights: How often a training window is drawn for each class; None for windows anywhere.
        has_organelles: Whether there are cells and organelles to evaluate.
    """

    names: tuple[str, ...]
    kind: str | None = None
    partly_labeled: tuple[str, ...] = ()
    part: str = "foreground"
    first: int = 1
    weights: tuple[float, ...] | None = None
    has_organelles: bool = False

    def classes(self, volume):
        """The class of each voxel of a volume, uint8 (z, y, x)."""
        if self.kind is None:
            return np.asarray(volume["semantic"])
        return (np.asarray(volume[self.kind]) > 0).astype(np.uint8)

    @property
    def column(self):
        """The column of labels that classes are made of."""
        return self.kind or "semantic"


PLATELETS = Task(
    names=platelet_em.CLASS_NAMES,
    partly_labeled=("test",),
    part="organelle",
    first=2,
    weights=CLASS_WEIGHTS,
    has_organelles=True,
)


def task_of(volumes):
    """What there is to learn of own volumes: their classes, or where instances are."""
    features = volumes["train"].features
    kinds = [name.removeprefix("n_") for name in features if name.startswith("n_")]
    if any(row["semantic"] is not None for row in volumes["train"].select_columns("semantic")):
        for kind in kinds:
            names = getattr(features[kind].get("class_id", None), "feature", None)
            if isinstance(names, datasets.ClassLabel):
                return Task(names=tuple(names.names))
        count = len(platelet_em.targets.class_weights(with_labels(volumes["train"], "semantic")))
        return Task(names=tuple(f"class {index}" for index in range(count)))
    return Task(names=("background", kinds[0]), kind=kinds[0])


def with_labels(rows, column):
    """The volumes that have labels in a column."""
    labels = rows.select_columns(column)
    return rows.select([k for k in range(len(rows)) if labels[k][column] is not None])


def load_volumes(arguments, scratch):
    """The volumes, as a DatasetDict in the format "platelet_em": real ones, or a new sample."""
    if arguments.description:
        return platelet_em.load_dataset("volumes", description=arguments.description)
    if arguments.repo:
        return datasets.load_dataset(arguments.repo, "volumes").with_format(platelet_em.FORMAT)
    if arguments.download or arguments.data_dir:
        return platelet_em.load_dataset(
            "volumes", data_dir=arguments.data_dir, with_test=arguments.with_test
        )
    depth, size, seed = arguments.sample
    with_test = arguments.with_test
    platelet_em.write_sample(scratch, depth=depth, size=size, seed=seed, with_test=with_test)
    return platelet_em.load_dataset(
        "volumes", data_dir=scratch, cache_dir=f"{scratch}/cache", with_test=with_test
    )


def training_batches(volumes, tensors, steps, seed, task):
    """Batches of random windows, each read when it is needed, new ones in each epoch."""
    near = {"min_foreground": 0.01, "class_weights": task.weights} if task.weights else {}
    sampler = platelet_em.RandomWindows(
        (CONTEXT, SIDE, SIDE),
        count=EPOCH * BATCH,
        label_shape=(1, SIDE, SIDE),
        seed=seed,
        pad="reflect",  # volumes may be smaller than a window
        **near,
    )
    windows = platelet_em.windows(volumes, sampler, columns=["image", task.column])
    loader = DataLoader(windows, BATCH, sampler=windows.sampler(), collate_fn=tensors.collate)
    return islice(chain.from_iterable(repeat(loader)), steps)


def convolutions(inputs, outputs):
    """Two convolutions of 3 x 3 pixels."""
    layers = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """A 2D U-Net: downsampling by 2, upsampling, and a skip connection at each level."""

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
        # On CPUs, convolutions are faster with channels last in memory.
        levels = [self.first(x.contiguous(memory_format=torch.channels_last))]
        for down in self.down:
            levels.append(down(nn.functional.max_pool2d(levels[-1], 2)))
        x = levels.pop()
        for grow, up in zip(reversed(self.grow), reversed(self.up), strict=True):
            x = up(torch.cat([levels.pop(), grow(x)], dim=1))
        return self.last(x)


def loss_weights(volumes, task=PLATELETS):
    """Square roots of the balanced weights of the classes."""
    rows, count = volumes, len(task.names)
    if task.kind is not None:
        rows = ({"volume": v["volume"], "semantic": task.classes(v)} for v in volumes)
    weights = platelet_em.targets.class_weights(
        rows, classes=count, partly_labeled=task.partly_labeled
    )
    return torch.from_numpy(np.sqrt(weights)).float()


def train(model, batches, steps, seed, weights, check, task):
    """Train; returns the loss of each step, and {step: result of `check`} before the last one."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    random = np.random.default_rng(seed)
    losses, checks, shown = [], {}, {}
    progress = tqdm(batches, total=steps, desc="Training", unit="step")
    for step, batch in enumerate(progress, start=1):
        image, classes = batch["image"], batch[task.column]  # (n, 3, y, x), (n, 1, y, x)
        if task.kind is not None:
            classes = (classes > 0).long()
        turns, axes = random.integers(4), [-1] * random.integers(2)  # flip, or not
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
            shown = {"validation IoU": checks[step]["mean IoU"]}
        progress.set_postfix({"loss": np.mean(losses[-RECENT:]), **shown}, refresh=False)
    return losses, checks


@torch.no_grad()
def predict(model, volumes, tensors, shape):
    """The class of each voxel of the volume, or of its first slices: uint8, of `shape`.

    The probabilities of seven classes take 28 bytes per voxel, 430 MB for 24 x 800 x 800.
    """
    model.eval()
    step = SIDE - OVERLAP
    grid = platelet_em.GridWindows(
        (CONTEXT, SIDE, SIDE), (1, step, step), (1, SIDE, SIDE), pad="reflect"
    )
    windows = platelet_em.windows(volumes, grid, columns=["image"])

    def predictions():
        for batch in DataLoader(windows, BATCH, collate_fn=tensors.collate):
            if batch["corner"][0][0] >= shape[0]:  # windows are in the order of slices
                return
            classes = model(batch["image"]).softmax(dim=1)[:, :, None]  # (n, class, 1, y, x)
            yield from zip(batch["corner"], classes, strict=True)

    classes = platelet_em.stitch(predictions(), shape, blend="gaussian", channel_axes=1)
    return classes.argmax(axis=0).astype(np.uint8)


def components(classes):
    """3D connected components of equal values, int32; background and specks are 0."""
    found = label(classes, connectivity=1).astype(np.int32)
    found[np.bincount(found.ravel())[found] < MIN_VOXELS] = 0
    return found


def class_ious(truth, prediction):
    """{class: IoU}, of the classes that truth or prediction contain."""
    # A volume has many voxels and few pairs of classes: count each pair once.
    pairs = contingency_table(truth, prediction).tocoo()
    present = np.union1d(pairs.row, pairs.col)
    scores = jaccard_score(
        pairs.row, pairs.col, labels=present, average=None, sample_weight=pairs.data
    )
    return dict(zip(present.tolist(), scores.tolist(), strict=True))


def mean_ious(ious, task=PLATELETS):
    """Mean of all classes, and of the organelles or foreground; NaN without any of them."""
    part = [iou for index, iou in ious.items() if index >= task.first]
    return {
        "mean IoU": float(np.mean(list(ious.values()))),
        f"{task.part} mean IoU": float(np.mean(part)) if part else float("nan"),
    }


def scored_voxels(volume, semantic, task=PLATELETS):
    """Which voxels are scored: all, or those with a class, where 0 also means "not labeled"."""
    return semantic > 0 if volume in task.partly_labeled else np.ones(semantic.shape, bool)


def scored_ious(volume, semantic, prediction, task=PLATELETS):
    """{class: IoU} of the scored voxels; of class 0 only where all voxels are."""
    is_scored = scored_voxels(volume, semantic, task)
    ious = class_ious(semantic[is_scored], prediction[is_scored])
    return {k: iou for k, iou in ious.items() if k or volume not in task.partly_labeled}


def panoptic_quality(truth, prediction):
    """PQ of the instances of one kind, where 0 is background; NaN without any instance.

    Equals that of torchmetrics, which needs gigabytes and minutes for a volume. An instance can
    overlap at most one other with an IoU above 0.5, so matching needs no search.
    """
    shared = contingency_table(truth, prediction).tocoo()
    truth_areas, areas = np.bincount(shared.row, shared.data), np.bincount(shared.col, shared.data)
    ious = shared.data / (truth_areas[shared.row] + areas[shared.col] - shared.data)
    matches = ious[(shared.row > 0) & (shared.col > 0) & (ious > 0.5)]
    instances = np.count_nonzero(truth_areas[1:]) + np.count_nonzero(areas[1:])
    return float(2 * matches.sum() / instances) if instances else float("nan")


def number_ids(ids):
    """The ids from 1 on without gaps, 0 being background: tables of pairs have a row for each."""
    return np.searchsorted(np.unique(np.append(ids, 0)), ids)


def evaluate_kind(truth, prediction, kind):
    """Metrics of the instances of a kind, which are the components of class 1, and these."""
    instances, found = number_ids(np.asarray(truth[kind])), components(prediction)
    return {
        f"adjusted Rand index, {kind}": adjusted_rand_score(instances.ravel(), found.ravel()),
        f"PQ, {kind}": panoptic_quality(instances, found),
    }, {kind: found}


def evaluate(truth, prediction, task=PLATELETS):
    """Metrics of predicted classes (z, y, x), and the predicted columns as in `truth`.

    Volumes without instances have the metrics of classes only.
    """
    ious = scored_ious(truth["volume"], task.classes(truth), prediction, task)
    means = mean_ious(ious, task)
    by_class = {f"IoU, {name}": ious.get(k, np.nan) for k, name in enumerate(task.names)}
    if task.kind is not None:
        figures, found = evaluate_kind(truth, prediction, task.kind)
        return {**means, **figures, **by_class}, {"semantic": prediction, **found}
    if not task.has_organelles or truth["cells"] is None:
        return {**means, **by_class}, {"semantic": prediction}
    cells, lazy = np.asarray(truth["cells"]), truth["organelles"]
    organelles = np.asarray(lazy)
    kind_of_id = np.zeros(organelles.max() + 1, np.uint8)
    kind_of_id[lazy.ids] = KIND_OF_CLASS[lazy.properties["class_id"]]
    kinds = KIND_OF_CLASS[prediction]
    found_cells, found_organelles = components(prediction > 0), components(kinds)

    kind_pq = {}
    for kind, name in enumerate(KINDS, start=1):
        of_kind = organelles * (kind_of_id[organelles] == kind), found_organelles * (kinds == kind)
        kind_pq[name] = panoptic_quality(*of_kind)
    known = [pq for pq in kind_pq.values() if np.isfinite(pq)]
    organelle_rand = adjusted_rand_score(organelles.ravel(), found_organelles.ravel())
    figures = {
        **means,
        "adjusted Rand index, cells": adjusted_rand_score(cells.ravel(), found_cells.ravel()),
        "adjusted Rand index, organelles": organelle_rand,
        "PQ, cells": panoptic_quality(cells, found_cells),
        "PQ, organelles": float(np.mean(known)) if known else float("nan"),
        **by_class,
        **{f"PQ, {name}": pq for name, pq in kind_pq.items()},
    }
    found = {"semantic": prediction, "cells": found_cells, "organelles": found_organelles}
    return figures, found


def draw_curve(path, losses, checks, train_means, evaluated):
    """Draw the loss of each step, IoUs on the evaluated split, and the final IoU on `train`."""
    steps = np.arange(1, len(losses) + 1)
    width = max(len(losses) // 25, 1)
    smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
    figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(8, 7), layout="constrained")
    top.plot(steps, losses, color="0.75", linewidth=1, label="each step")
    top.plot(steps[width - 1 :], smooth, color="tab:blue", label=f"mean of the last {width}")
    top.set(ylabel="cross-entropy on train", ylim=(0, None), title="Learning curve")
    for key in train_means:
        values = [check[key] for check in checks.values()]
        line = bottom.plot(checks.keys(), values, marker="o", label=f"{key}, {evaluated}")
        bottom.plot(len(losses), train_means[key], "*", color=line[0].get_color(), markersize=12)
    bottom.plot([], [], "*k", markersize=12, label="the same on train, at the end")
    bottom.set(xlabel=f"step, of {BATCH} windows", ylabel="mean IoU", ylim=(0, 1))
    for axes in (top, bottom):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def like_truth(truth, found):
    """Each found id replaced by the true id that it overlaps most, so that colors agree."""
    table = contingency_table(truth, found).toarray()
    table[0] = 0
    best = table.argmax(axis=0)
    # Instances that overlap none get new ids, above those of the truth.
    best = np.where(table.any(axis=0), best, len(table) + np.arange(len(best)))
    best[0] = 0
    return best[found]


def color_ids(ids):
    """RGB of each id, background black; hues a golden section apart differ as much as can be."""
    hues = ids * 0.618034 % 1
    colors = hsv_to_rgb(np.stack([hues, np.full(ids.shape, 0.6), np.ones(ids.shape)], axis=-1))
    return colors * (ids > 0)[..., None]


def instance_panels(truth, found, column, z):
    """Titles and pictures of true and predicted instances, one color per instance in both."""
    labels = number_ids(np.asarray(truth[column]))
    true, predicted = (color_ids(ids[z]) for ids in (labels, like_truth(labels, found[column])))
    return [(f"{column}: truth", true, {}), (f"{column}: prediction", predicted, {})]


def wrong_panel(truth, found, z, task=PLATELETS):
    """Title and picture of the wrong pixels, among those that are scored."""
    image, semantic = np.asarray(truth["image"][z], np.float32), task.classes(truth)[z]
    is_scored = scored_voxels(truth["volume"], semantic, task)
    is_wrong = is_scored & (semantic != found["semantic"][z])
    low, high = np.percentile(image, [0.5, 99.5])
    gray = np.clip((image - low) / max(high - low, 1), 0, 1) * (255 * DARK)
    picture = np.repeat(gray.astype(np.uint8)[..., None], 3, axis=-1)
    picture[is_wrong] = WRONG
    pixels = "labeled pixels" if truth["volume"] in task.partly_labeled else "pixels"
    share = is_wrong.sum() / max(is_scored.sum(), 1)
    return f"wrong: {share:.1%} of {pixels}", picture, {}


def class_colors(count):
    """A color for each class, of `CLASS_COLORS` where they suffice."""
    if count <= len(CLASS_COLORS):
        return CLASS_COLORS[:count]
    return mpl.colormaps["turbo"](np.linspace(0, 1, count))[:, :3]


def draw_prediction(path, truth, found, task=PLATELETS):
    """Draw the middle slice of a volume: image, true and predicted classes and instances."""
    z = len(found["semantic"]) // 2
    colors = class_colors(len(task.names))
    classes = {"cmap": ListedColormap(colors), "vmin": 0, "vmax": len(colors) - 1}
    panels = [
        ("image", truth["image"][z], {"cmap": "gray"}),
        ("classes: truth", task.classes(truth)[z], classes),
        ("classes: prediction", found["semantic"][z], classes),
        wrong_panel(truth, found, z, task),
    ]
    for column in found:
        if column != "semantic":
            panels += instance_panels(truth, found, column, z)
    rows = -(-len(panels) // 4)
    figure, axes = plt.subplots(rows, 4, figsize=(16, 4.4 * rows + 0.8), layout="constrained")
    for unused in axes.flat[len(panels) :]:
        unused.set_axis_off()
    for panel, (title, picture, style) in zip(axes.flat, panels, strict=False):
        panel.imshow(picture, interpolation="nearest", **style)
        panel.set_title(title, fontsize=14)
        panel.set(xlabel="x [px]", ylabel="y [px]")
        panel.label_outer()
    names = [*task.names]
    if truth["volume"] in task.partly_labeled:
        names[0] = "not labeled"
    patches = [Patch(color=c, label=n) for c, n in zip(colors, names, strict=True)]
    patches.append(Patch(color=WRONG / 255, label="wrong class"))
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), fontsize=12)
    pixels = "; pixels are about 10 nm" if task is PLATELETS else ""
    figure.suptitle(f"Volume {truth['volume']}, slice z = {z}{pixels}", fontsize=16)
    figure.savefig(path, dpi=200)  # a panel has about as many pixels as a slice
    plt.close(figure)


def run(arguments, scratch):
    """Load, train, evaluate, and write metrics and pictures."""
    volumes = load_volumes(arguments, scratch)
    is_sample = not any(
        (arguments.repo, arguments.data_dir, arguments.download, arguments.description)
    )
    task, evaluated = PLATELETS, "validation"
    if arguments.description:
        task = task_of(volumes)
        volumes = {split: with_labels(rows, task.column) for split, rows in volumes.items()}
        evaluated = next(s for s in ("validation", "test", "train") if len(volumes.get(s, ())))
    steps = arguments.steps or (400 if is_sample else 3000)
    # A folder that cannot be written to is an error before training, not after it.
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=arguments.out):
        pass
    truth = volumes[evaluated][0]
    tensors = platelet_em.ToTensors(
        normalize="percentile",  # of each volume: volume 24 is brighter
        statistics=platelet_em.intensity_statistics(volumes),
        channel_axis=False,  # the slices are the channels
    )
    torch.manual_seed(arguments.seed)
    model = UNet(CONTEXT, len(task.names)).to(memory_format=torch.channels_last)

    def segment(split):
        """Truth and prediction; of `train`, of at most as many slices as `validation` has."""
        depth = truth["image"].shape[0] if split == "train" else None
        first = volumes[split].select([0])
        classes = task.classes(first[0])[:depth]
        return classes, predict(model, first, tensors, classes.shape)

    def check(split):
        ious = scored_ious(volumes[split][0]["volume"], *segment(split), task)
        return mean_ious(ious, task)

    batches = training_batches(volumes["train"], tensors, steps, arguments.seed, task)
    weights = loss_weights(volumes["train"], task)
    losses, checks = train(
        model, batches, steps, arguments.seed, weights, lambda: check(evaluated), task
    )
    figures, found = evaluate(truth, segment(evaluated)[1], task)
    train_means = check("train")
    checks[steps] = {key: figures[key] for key in train_means}
    record = {"figures": figures, "train": train_means, "losses": losses, "checks": checks}
    tables = {evaluated: figures}
    tables.setdefault("train", train_means)
    if task is PLATELETS and "test" in volumes:
        test = volumes["test"][0]
        record["test"], found_test = evaluate(test, segment("test")[1])
        tables["test, labeled voxels"] = record["test"]
        draw_prediction(arguments.out / "prediction_test.png", test, found_test)
    for title, values in tables.items():
        print(f"\n{'on ' + title:<32}  U-Net")
        for name, value in values.items():
            print(f"{name:<32} {f'{value:.3f}' if np.isfinite(value) else 'absent':>6}")

    (arguments.out / "metrics.json").write_text(json.dumps(record, indent=1) + "\n")
    torch.save(model.state_dict(), arguments.out / "unet.pt")
    draw_curve(arguments.out / "learning_curve.png", losses, checks, train_means, evaluated)
    draw_prediction(arguments.out / "prediction.png", truth, found, task)


def parse_count(text):
    """Parse an integer of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {value}")
    return value


def parse_arguments():
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="""\
examples:
  python examples/train_unet.py                              # a synthetic sample
  python examples/train_unet.py --download                   # the publisher's archive
  python examples/train_unet.py --data-dir archives          # the same, downloaded
  python examples/train_unet.py --repo USER/platelet-em --steps 10000 --threads 8
  python examples/train_unet.py --description my-data/my.toml # your own volumes""",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--download", action="store_true", help="use the publisher's archive")
    source.add_argument("--data-dir", metavar="ARCHIVES", help="zip, or folder with the zips")
    source.add_argument("--description", metavar="TOML", help="your own volumes")
    source.add_argument("--repo", help="output of platelet-em build: a folder, or a Hub id")
    parser.add_argument(
        "--with-test",
        action="store_true",
        help="evaluate on the paper's third volume, too; of --repo, it is there or not",
    )
    parser.add_argument("--steps", type=parse_count, help="default: 400 on the sample, else 3000")
    parser.add_argument("--out", type=Path, default=Path("unet"), help="folder for the results")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same loss")
    parser.add_argument(
        "--threads", type=parse_count, default=1, help="PyTorch threads (default: 1)"
    )
    extent = ("DEPTH", "SIZE", "SEED")
    parser.add_argument("--sample", type=int, nargs=3, default=(12, 512, 0), metavar=extent)
    return parser.parse_args()


def main():
    """Run in a temporary folder for the sample; report failures in one sentence."""
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
