"""Another dataset is another value of `DatasetSpec`: no module has to be touched for it."""

import datasets
import numpy as np
import pytest
from support import publisher

from _platelet_em.hub.build import build
from _platelet_em.publisher.archive import find_source
from _platelet_em.publisher.volume import ArchiveVolume
from _platelet_em.rows.make import CONFIGS, make_rows, make_table
from _platelet_em.spec import Archive, DatasetSpec, InstanceSpec, SemanticClass, VolumeSpec
from _platelet_em.verify.run import verify

SHAPE = (5, 24, 17)
COLORS = ((0, 0, 0), (10, 20, 30), (200, 0, 0), (0, 0, 200))


def volume_spec(name, split):
    return VolumeSpec(
        name=name,
        split=split,
        shape=SHAPE,
        class_shares=(70.0, 20.0, 5.0, 5.0),
        archives=("json", "tif"),
        image_file=f"leaf/{name}_raw.tif",
        label_files=(
            ("semantic", f"leaf/{name}_tissue"),
            ("vesicles", f"leaf/{name}_vesicles"),
        ),
    )


LEAF = DatasetSpec(
    name="leaf",
    description="Two volumes of a leaf.",
    homepage="https://example.org",
    citation="@misc{leaf}",
    first_author="Nobody",
    published="2020",
    license="cc0-1.0",
    license_name="",
    license_details="public domain",
    page="https://example.org",
    voxel_size_nm=(50.0, 4.5, 4.5),
    classes=tuple(
        SemanticClass(name=name, colors=(color,))
        for name, color in zip(("outside", "wall", "vesicle", "starch"), COLORS, strict=True)
    ),
    palettes=("leaf",),
    instances=(InstanceSpec(column="vesicles", name="vesicle", first_class=2, has_class=True),),
    volumes=(volume_spec("a1", "train"), volume_spec("b2", "validation")),
    archives=(
        Archive(name="json", file_name="leaf.zip", url="https://x", size="1", md5=None),
        Archive(name="tif", file_name="rgb.zip", url="https://y", size="1", md5=None),
    ),
)


@pytest.fixture(scope="module")
def truth():
    """Name of a volume -> image, classes and vesicles as dense arrays."""
    rng = np.random.default_rng(4)
    found = {}
    for name in ("a1", "b2"):
        vesicles = np.zeros(SHAPE, np.int32)
        vesicles[1:4, 3:9, 2:7], vesicles[2:, 12:20, 5:15] = 40, 7
        semantic = np.where(vesicles == 40, 2, np.where(vesicles == 7, 3, 0)).astype(np.uint8)
        semantic[0] = 1
        found[name] = rng.integers(0, 2**16, SHAPE).astype(np.uint16), semantic, vesicles
    return found


@pytest.fixture(scope="module", params=["json", "tif"])
def archives(request, truth, tmp_path_factory):
    """The files of the dataset in a folder, with labels of one source."""
    folder = tmp_path_factory.mktemp("leaf") / "leaf"
    folder.mkdir()
    for name, (image, semantic, vesicles) in truth.items():
        (folder / f"{name}_raw.tif").write_bytes(publisher.tif(image))
        for stem, labels in (("tissue", semantic), ("vesicles", vesicles)):
            publisher.write_labels(
                folder / f"{name}_{stem}", labels, request.param,
                COLORS if stem == "tissue" else None,
            )  # fmt: skip
    return request.param, folder


def test_rows_are_made_of_it(archives, truth):
    label_source, folder = archives
    source = find_source(folder, label_source, LEAF)
    for volume in LEAF.volumes:
        vesicles = truth[volume.name][2]
        with ArchiveVolume(source, volume, label_source, LEAF) as opened:
            assert opened.kinds == ("vesicles",)
            tables = {
                config.name: make_table(
                    config,
                    [*make_rows(config, opened, LEAF, 0, config.count_parts(SHAPE))],
                    LEAF,
                )
                for config in CONFIGS
            }
        rows = tables["slices"].to_pylist()
        assert list(rows[0]) == ["image", "semantic", "volume", "z", "n_vesicles", "vesicles"]
        assert [row["n_vesicles"] for row in rows] == [
            len(np.unique(page)) - 1 for page in vesicles
        ]
        (row,) = tables["volumes"].to_pylist()
        assert row["voxel_size_nm"] == [50.0, 4.5, 4.5]
        by_area = dict(zip(row["vesicles"]["area"], row["vesicles"]["class_id"], strict=True))
        assert by_area == {int((vesicles == 40).sum()): 2, int((vesicles == 7).sum()): 3}
        assert "cell" not in row["vesicles"]
        assert tables["preview"].num_rows == SHAPE[0]


def test_a_repository_of_it_loads_with_plain_datasets_and_verifies(archives, truth, tmp_path):
    label_source, folder = archives
    repo = build(tmp_path / "repo", data_dir=folder, label_source=label_source, spec=LEAF)
    loaded = datasets.load_dataset(str(repo), "slices", cache_dir=str(tmp_path / "cache"))
    names = loaded["train"].features["vesicles"]["class_id"].feature.names
    assert names == ["outside", "wall", "vesicle", "starch"]
    for split, name in (("train", "a1"), ("validation", "b2")):
        image, semantic, vesicles = truth[name]
        for row in loaded[split].with_format("platelet_em"):
            assert np.array_equal(row["image"], image[row["z"]])
            assert np.array_equal(row["semantic"], semantic[row["z"]])
            found, expected = np.asarray(row["vesicles"]), vesicles[row["z"]]
            assert np.array_equal(found > 0, expected > 0)
            if label_source == "json":
                assert np.array_equal(found, expected)
    report = verify([folder, repo], LEAF)
    assert not report.errors, "\n".join(report.lines())
    assert "Number of vesicles in this row." in (repo / "croissant.json").read_text()
