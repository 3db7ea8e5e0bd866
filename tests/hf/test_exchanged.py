"""Archives that are exchanged after a builder was created: no rows of the new content."""

import shutil

import datasets
import numpy as np
import pytest
import torch.utils.data
from support import publisher

import platelet_em
from _platelet_em.errors import ArchiveError

CHANGED = "its content has changed since the dataset was opened: expected MD5"


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Archives of another scene."""
    folder = tmp_path_factory.mktemp("other")
    scene = publisher.publication(seed=99)
    scene.zip(folder / "images_and_labels_json.zip", "json")
    scene.folder(folder / "extracted", "json")
    return folder


@pytest.fixture(params=["zip", "folder"])
def exchangeable(request, publication, other, tmp_path):
    """A path, and a function that exchanges what is there."""
    if request.param == "zip":
        path = publication.zip(tmp_path / "a.zip", "json")

        def exchange():
            shutil.copy(other / "images_and_labels_json.zip", tmp_path / "new.zip")
            (tmp_path / "new.zip").replace(path)
    else:
        path = publication.folder(tmp_path / "folder", "json")

        def exchange():
            new = other / "extracted/images/50-images.tif"
            (path / "images/50-images.tif").write_bytes(new.read_bytes())

    return path, exchange


def builder(path, tmp_path):
    return platelet_em.PlateletEM(cache_dir=tmp_path / "cache", data_dir=path)


def cause(error):
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)


def test_before_it_is_prepared(exchangeable, tmp_path):
    path, exchange = exchangeable
    made = builder(path, tmp_path)
    exchange()
    with pytest.raises(ArchiveError, match=CHANGED):
        made.download_and_prepare()
    assert not list((tmp_path / "cache").rglob("*.arrow"))


def test_while_it_is_prepared(exchangeable, tmp_path, monkeypatch):
    path, exchange = exchangeable
    made = builder(path, tmp_path)
    generate = platelet_em.PlateletEM._generate_tables

    def meddle(self, shards):
        tables = generate(self, shards)
        yield next(tables)
        exchange()
        yield from tables

    monkeypatch.setattr(platelet_em.PlateletEM, "_generate_tables", meddle)
    with pytest.raises(datasets.exceptions.DatasetGenerationError) as caught:
        made.download_and_prepare()
    assert CHANGED in cause(caught.value)
    assert not list((tmp_path / "cache").rglob("*.arrow"))


def test_between_two_epochs_of_a_stream(exchangeable, tmp_path):
    path, exchange = exchangeable
    stream = platelet_em.load_dataset(data_dir=path, streaming=True, split="train")
    first = [row["image"] for row in stream]
    again = [row["image"] for row in stream]
    np.testing.assert_array_equal(first, again)
    exchange()
    with pytest.raises(ArchiveError, match=CHANGED):
        list(stream)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.usefixtures("impatient_torch")
def test_in_a_worker(exchangeable, method):
    path, exchange = exchangeable
    stream = platelet_em.load_dataset(data_dir=path, streaming=True, split="train")
    loader = torch.utils.data.DataLoader(
        stream, batch_size=None, num_workers=1, multiprocessing_context=method
    )
    exchange()
    rows = iter(loader)
    with pytest.raises((ArchiveError, RuntimeError), match=CHANGED):
        list(rows)
    rows._shutdown_workers()  # now, and not when the iterator is collected


def test_the_same_content_in_another_file_is_read(publication, tmp_path):
    path = publication.zip(tmp_path / "a.zip", "json")
    stream = platelet_em.load_dataset(data_dir=path, streaming=True, split="train")
    first = [row["image"] for row in stream]
    shutil.copy(path, tmp_path / "b.zip")
    (tmp_path / "b.zip").replace(path)
    np.testing.assert_array_equal(first, [row["image"] for row in stream])
