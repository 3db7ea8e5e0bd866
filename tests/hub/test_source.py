"""`find_dataset`: which volumes a path, a description or a name stands for, and their voxels."""

import json

import numpy as np
import pytest
from support.own import write_own
from support.truth import arrays_of, own_arrays

import platelet_em
from _platelet_em.description.parse import read_description
from _platelet_em.hub.build import build
from _platelet_em.hub.source import find_dataset, list_names


def check(source, truth, label_source=None):
    dataset = find_dataset(source, label_source)
    assert [volume.name for volume in dataset.spec.volumes] == [*truth]
    for name, arrays in truth.items():
        with dataset.open(dataset.volume(name, "volume")) as view:
            box = tuple(slice(0, n) for n in view.shape)
            assert {"image", *view.kinds, *(["semantic"] * view.has_semantic)} == {*arrays}
            for column, array in arrays.items():
                np.testing.assert_array_equal(view.window(column, box), array)


@pytest.mark.parametrize("source", ["archives", "repository"])
def test_archives_and_repositories(source, publication, request):
    check(request.getfixturevalue(source), arrays_of(publication), "json")


@pytest.mark.parametrize("form", ["stack", "pictures", "multipage"])
def test_own_volumes(form, tmp_path):
    own = write_own(tmp_path, form)
    check(str(own.description), own_arrays(own))


def test_an_unknown_volume_is_refused(archives):
    with pytest.raises(
        platelet_em.ArgumentError, match=r"^--volume: expected one of 50, 24, test, got '51'$"
    ):
        find_dataset(archives).volume("51", "--volume")


def test_labels_of_another_source_are_refused(repository):
    dataset = find_dataset(repository, "tif")
    with (
        pytest.raises(platelet_em.ArgumentError, match="contains 'json' labels, expected tif: "),
        dataset.open(dataset.spec.volumes[0]),
    ):
        pytest.fail("it was opened")


def test_a_volume_that_a_repository_lacks_is_named(repository):
    dataset = find_dataset(repository)
    with (
        pytest.raises(platelet_em.MissingMemberError, match="built repository with volume test"),
        dataset.open(dataset.volume("test", "volume")),
    ):
        pytest.fail("it was opened")


@pytest.mark.parametrize(("count", "ending"), [(11, "n10"), (12, "n11"), (13, "n11, ...")])
def test_a_message_lists_twelve_names(count, ending):
    text = list_names(f"n{i}" for i in range(count))
    assert text.startswith("n0, n1, ")
    assert text.endswith(f", {ending}")
    assert list_names(["a\x1b"]) == "a\\x1b"


def test_rows_of_another_shape_than_described_are_refused(tmp_path):
    own = write_own(tmp_path / "own", "multipage")
    repository = build(tmp_path / "repo", spec=read_description(own.description))
    path = repository / "description.json"
    document = json.loads(path.read_text())
    document["volumes"][0]["shape"] = [8, 18, 22]
    path.write_text(json.dumps(document))
    dataset = find_dataset(repository)
    message = r"volume first: expected rows of the shape \(8, 18, 22\), as in description.json, f"
    with (
        pytest.raises(platelet_em.MissingMemberError, match=message),
        dataset.open(dataset.spec.volumes[0]),
    ):
        pytest.fail("it was opened")
