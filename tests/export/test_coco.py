"""Exports to COCO, read back by pycocotools."""

import contextlib
import io
import json
import logging
import resource
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from support.own import write_own

import platelet_em
from _platelet_em.facts import PUBLISHED

# pycocotools' decoder gives an array that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

KINDS = {"cells": "cell", "organelles": "organelle"}
"""Column -> attribute of the truth."""


@pytest.fixture(scope="module")
def exported(archives, tmp_path_factory):
    return platelet_em.export(archives, tmp_path_factory.mktemp("coco") / "out", to="coco")


def load(out, split):
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(out / "annotations" / f"instances_{split}.json")


def check(coco, out, images, labels):
    """Compare images and masks of a split with the truth.

    Args:
        coco: The split.
        out: The export.
        images: Volume -> array (z, y, x).
        labels: Volume -> column -> array (z, y, x).
    """
    assert Counter(image["volume"] for image in coco.imgs.values()) == {
        name: len(array) for name, array in images.items()
    }
    for image in coco.imgs.values():
        name, z = image["volume"], image["z"]
        page = np.asarray(Image.open(out / "images" / image["file_name"]))
        assert page.dtype == images[name].dtype
        assert np.array_equal(page, images[name][z])
        assert (image["height"], image["width"]) == page.shape
        assert image["labeled_kinds"] == [*labels[name]]
        found = {kind: np.zeros(page.shape, np.int32) for kind in labels[name]}
        for annotation in coco.imgToAnns[image["id"]]:
            mask = coco.annToMask(annotation).astype(bool)
            kind, id_ = annotation["kind"], annotation["instance_id"]
            assert np.array_equal(mask, labels[name][kind][z] == id_)
            found[kind][mask] = id_
            code = coco.annToRLE(annotation)
            assert annotation["area"] == coco_mask.area(code) == mask.sum()
            assert annotation["bbox"] == coco_mask.toBbox(code).tolist()
            assert annotation["iscrowd"] == 0
        assert all(np.array_equal(found[kind], labels[name][kind][z]) for kind in found)


@pytest.mark.parametrize("counts", ["compressed", "uncompressed"])
def test_pycocotools_reads_images_and_masks(archives, publication, tmp_path, counts):
    out = platelet_em.export(archives, tmp_path / "out", to="coco", counts=counts)
    for split, name in {"train": "50", "validation": "24"}.items():
        truth = publication.volumes[name]
        coco = load(out, split)
        labels = {column: getattr(truth, kind) for column, kind in KINDS.items()}
        check(coco, out, {name: truth.images}, {name: labels})
        type_ = {"compressed": str, "uncompressed": list}[counts]
        assert {type(a["segmentation"]["counts"]) for a in coco.anns.values()} == {type_}


@pytest.mark.parametrize("kind", ["segm", "bbox"])
def test_the_truth_scores_1_against_itself(exported, kind):
    with contextlib.redirect_stdout(io.StringIO()):
        for split in ("train", "validation"):
            truth = load(exported, split)
            keys = ("image_id", "category_id", "segmentation")
            found = [{**{k: a[k] for k in keys}, "score": 1.0} for a in truth.anns.values()]
            scores = COCOeval(truth, truth.loadRes(found), kind)
            scores.evaluate()
            scores.accumulate()
            scores.summarize()
            assert scores.stats[:3].tolist() == [1, 1, 1]


def test_objects_are_annotated_with_what_is_known_of_them(exported, publication):
    truth = publication.volumes["50"]
    seen = {}
    for annotation in load(exported, "train").anns.values():
        kind, id_ = annotation["kind"], annotation["instance_id"]
        seen.setdefault((kind, id_), []).append(annotation)
    for (kind, id_), annotations in seen.items():
        inside = getattr(truth, KINDS[kind]) == id_
        assert len(annotations) == inside.any(axis=(1, 2)).sum()
        (category,) = {a["category_id"] for a in annotations}
        assert not any("class_id" in a for a in annotations)
        if kind == "cells":
            assert category == 1
            assert not any("purity" in a or "cell" in a for a in annotations)
            continue
        votes = np.bincount(truth.semantic[inside], minlength=7)
        assert category == 2 + votes[2:].argmax()
        assert {a["purity"] for a in annotations} == {
            float(str(np.float32(votes[category] / inside.sum())))
        }
        cells = np.bincount(truth.cell[inside])
        assert {a["cell"] for a in annotations} == {cells.argmax()}


def test_ids_count_from_1_and_categories_are_the_same_in_all_splits(exported):
    train, validation = load(exported, "train"), load(exported, "validation")
    for coco in (train, validation):
        assert [*coco.anns] == [*range(1, len(coco.anns) + 1)]
        assert [*coco.imgs] == [*range(1, len(coco.imgs) + 1)]
    names = {c["id"]: c["name"] for c in train.dataset["categories"]}
    assert names == dict([*enumerate(PUBLISHED.class_names)][1:])
    assert train.dataset["categories"] == validation.dataset["categories"]


def test_the_license_is_the_publishers(exported):
    dataset = load(exported, "train").dataset
    assert dataset["licenses"] == [
        {
            "id": 1,
            "name": "cleared-for-public-release",
            "url": PUBLISHED.page,
            "details": "cleared for public release",
        }
    ]
    assert {image["license"] for image in dataset["images"]} == {1}
    assert dataset["info"]["year"] == 2021
    assert dataset["info"]["url"] == PUBLISHED.homepage


def test_a_repository_gives_the_same_bytes(exported, repository, tmp_path):
    out = platelet_em.export(repository, tmp_path / "out", to="coco")
    files = [path.relative_to(out) for path in out.rglob("*") if path.is_file()]
    assert {p for p in files if p.suffix == ".json"} == {
        *(p.relative_to(exported) for p in exported.rglob("*.json"))
    }
    assert all((out / path).read_bytes() == (exported / path).read_bytes() for path in files)


def test_pictures_of_many_sizes_without_classes(tmp_path):
    own = write_own(tmp_path / "set", "pictures")
    out = platelet_em.export(own.description, tmp_path / "out", to="coco")
    for split in ("train", "test"):
        coco = load(out, split)
        truth = {volume.name: volume for volume in own.of(split)}
        check(
            coco,
            out,
            {name: volume.image for name, volume in truth.items()},
            {name: volume.labels for name, volume in truth.items()},
        )
        assert coco.dataset["categories"] == [
            {"id": 1, "name": "particle", "supercategory": "particle"}
        ]
    names = sorted(path.name for path in (out / "images").iterdir())
    assert names == [
        *("Probe_1_e-0000.png", "Probe_3_e-0000.png", "Probe_5_e-0000.png"),
        *("it_s_0-0000.png", "it_s_2-0000.png", "it_s_4-0000.png"),
    ]


def test_a_volume_without_instances_is_left_out(tmp_path, caplog):
    own = write_own(tmp_path / "set", "stack")
    with caplog.at_level(logging.WARNING):
        out = platelet_em.export(own.description, tmp_path / "out", to="coco")
    (truth,) = own.of("train")
    check(load(out, "train"), out, {truth.name: truth.image}, {truth.name: truth.labels})
    assert [path.name for path in (out / "annotations").iterdir()] == ["instances_train.json"]
    assert len([*(out / "images").iterdir()]) == len(truth.image)
    remark = "volume unlabeled: its images are left out: in COCO, an image without annotations"
    assert remark in caplog.text
    assert remark in (out / "export.json").read_text("utf-8")
    (out / "annotations" / "instances_train.json").read_bytes().decode("ascii")


def test_a_volume_that_lacks_some_kinds_says_so(tmp_path):
    own = write_own(tmp_path / "set", "multipage")
    out = platelet_em.export(own.description, tmp_path / "out", to="coco")
    for split in ("train", "test"):
        (truth,) = own.of(split)
        check(load(out, split), out, {truth.name: truth.image}, {truth.name: truth.labels})
    ids = {a["instance_id"] for a in load(out, "train").anns.values()}
    assert 70_000 in ids
    assert "volume second: in COCO its images look as if" in (out / "export.json").read_text()


def test_images_of_16_bits_are_remarked(exported, tmp_path):
    remarks = json.loads((exported / "export.json").read_text())["remarks"]
    assert len([remark for remark in remarks if remark.startswith("images have 16 bits")]) == 1
    own = write_own(tmp_path / "set", "pictures", count=3)
    out = platelet_em.export(own.description, tmp_path / "out", to="coco")
    assert json.loads((out / "export.json").read_text())["remarks"] == []


def test_classes_alone_cannot_be_exported(archives, tmp_path):
    message = "kinds: expected some with instances, as coco holds nothing else, got semantic"
    with pytest.raises(platelet_em.ArgumentError, match=message):
        platelet_em.export(archives, tmp_path / "out", to="coco", kinds="semantic")
    own = write_own(tmp_path / "set", "stack")
    with pytest.raises(platelet_em.ArgumentError, match=r"got \['unlabeled'\] without"):
        platelet_em.export(own.description, tmp_path / "out", to="coco", volume="unlabeled")
    assert not (tmp_path / "out").exists()


def test_a_parent_with_a_name_of_coco_is_refused(tmp_path):
    own = write_own(tmp_path / "set", "multipage")
    text = own.description.read_text().replace('parent = "cell"', 'parent = "iscrowd"')
    own.description.write_text(text)
    message = "organelles: expected a parent of another name than the keys of COCO, got 'iscrowd'"
    with pytest.raises(platelet_em.ConversionError, match=message):
        platelet_em.export(own.description, tmp_path / "out", to="coco")


def test_other_counts_are_refused(archives, tmp_path):
    message = "counts: expected one of .*compressed.*, got 'polygon'"
    with pytest.raises(platelet_em.ArgumentError, match=message):
        platelet_em.export(archives, tmp_path / "out", to="coco", counts="polygon")


def test_a_parent_of_other_kinds_does_not_matter(tmp_path):
    own = write_own(tmp_path / "own", "multipage")
    text = own.description.read_text().replace('parent = "cell"', 'parent = "image_id"')
    own.description.write_text(text)
    out = platelet_em.export(own.description, tmp_path / "out", to="coco", kinds="cells")
    assert (out / "annotations" / "instances_train.json").exists()


def test_there_may_be_more_splits_than_open_files(tmp_path):
    count = 40
    own = write_own(tmp_path / "own", "pictures", count=1)
    head, _, volume = own.description.read_text().partition("[[volumes]]")
    lines = [line for line in volume.splitlines() if not line.startswith(("name", "split"))]
    body = "\n".join(lines).replace("{stem}", "it's_0")
    volumes = [f'[[volumes]]\nname = "v{i}"\nsplit = "split_{i}"{body}\n' for i in range(count)]
    own.description.write_text(head + "\n".join(volumes))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = len([*Path("/dev/fd").iterdir()])
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + count // 2, before[1]))
    try:
        out = platelet_em.export(own.description, tmp_path / "out", to="coco")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    files = [*(out / "annotations").iterdir()]
    assert len(files) == count
    assert all(len(COCO(path).imgs) == 1 for path in files)
