"""A short run of the fuzz targets, and what long runs have found."""

import io

import pytest
import tifffile
from fuzz import NO_LABELS, TARGETS, TIFS, check_tif
from hypothesis import given, settings
from hypothesis import strategies as st

from _platelet_em.errors import PlateletEMError
from _platelet_em.label_files import read_labels


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    """What tifffile logs about damaged files is not looked at."""
    monkeypatch.setattr(tifffile.logger(), "disabled", True)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of tifffile, about damaged numbers
@pytest.mark.parametrize("name", TARGETS)
def test_damaged_inputs_are_read_right_or_refused(name):
    make, check = TARGETS[name]

    @settings(max_examples=300)
    @given(st.randoms(note_method_calls=False))
    def tried(rnd):
        check(make(rnd))

    tried()


@pytest.mark.parametrize("name", TIFS)
def test_what_is_not_damaged_is_read(name):
    if name in NO_LABELS:
        with pytest.raises(PlateletEMError, match=r"^x\.tif: expected "):
            read_labels(io.BytesIO(TIFS[name]), "x.tif", semantic=False)
    else:
        check_tif((TIFS[name], False))
        read_labels(io.BytesIO(TIFS[name]), "x.tif", semantic=False).close()
