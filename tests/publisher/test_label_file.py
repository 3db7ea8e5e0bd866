"""The limits that label files of every form have in common."""

import pytest

from _platelet_em.errors import LabelFormatError
from _platelet_em.limits import MAX_PAGE, MAX_PAGES, MAX_RUNS, MAX_VOXELS
from _platelet_em.publisher.label_file import check_run_count, check_volume_shape

NAME = "50-semantic.json"


@pytest.mark.parametrize(
    "shape", [(50, 800, 800), (MAX_PAGES, 1, 1), (16, 8192, 8192), (1024, 1024, 1024), (0, 0, 0)]
)
def test_a_volume_within_the_limits_is_accepted(shape):
    assert check_volume_shape(shape, NAME) == shape


@pytest.mark.parametrize(
    "shape",
    [
        (MAX_PAGES + 1, 1, 1),
        (2**40, 1, 1),
        (2**40, 0, 1),
        (1, MAX_PAGE + 1, 1),
        (0, 2**20, 2**20),
        (MAX_VOXELS // 2**20 + 1, 2**10, 2**10),
    ],
)
def test_a_volume_beyond_the_limits_is_refused(shape):
    with pytest.raises(
        LabelFormatError,
        match=rf"^{NAME}: expected at most {MAX_PAGES} slices, {MAX_PAGE} pixels per slice and "
        rf"{MAX_VOXELS} voxels, got shape \({shape[0]}, .*: the file is damaged, or too large$",
    ):
        check_volume_shape(shape, NAME)


@pytest.mark.parametrize("shape", [(5,), (10, 10), (1, 2, 3, 4)])
def test_labels_that_are_no_volume_are_refused(shape):
    with pytest.raises(
        LabelFormatError,
        match=rf"^{NAME}: expected a volume \(z, y, x\), got shape \({shape[0]},.*: the file is d",
    ):
        check_volume_shape(shape, NAME)


def test_more_runs_than_the_limit_are_refused():
    check_run_count(MAX_RUNS, NAME)
    with pytest.raises(
        LabelFormatError, match=rf"^{NAME}: expected at most {MAX_RUNS} runs, got more: the file"
    ):
        check_run_count(MAX_RUNS + 1, NAME)


def test_more_runs_than_a_picture_file_may_have_name_the_way_out():
    with pytest.raises(LabelFormatError, match="compress so well need a file without compression"):
        check_run_count(9, NAME, 8)
