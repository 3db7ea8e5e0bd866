"""A short run of the fuzz targets, and the inputs that long runs have found."""

import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fuzz import NO_LABELS, TARGETS, TIFS, check_json, check_tif, damaged_tag, read

from _platelet_em.errors import LabelFormatError, PlateletEMError


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    """Ignores what tifffile logs about damaged files."""
    monkeypatch.setattr(tifffile.logger(), "disabled", True)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of tifffile, about damaged numbers
@pytest.mark.parametrize("name", TARGETS)
def test_damaged_inputs_are_read_correctly_or_refused(name):
    make, check = TARGETS[name]

    @settings(max_examples=300)
    @given(st.randoms(note_method_calls=False))
    def check_one(rnd):
        check(make(rnd))

    check_one()


@pytest.mark.parametrize("name", TIFS)
def test_undamaged_tifs_are_read(name):
    if name in NO_LABELS:
        with pytest.raises(PlateletEMError, match=r"^x\.tif: expected "):
            read(TIFS[name], "x.tif", semantic=False)
    else:
        check_tif((TIFS[name], False))
        read(TIFS[name], "x.tif", semantic=False)


# Inputs that long runs have found


@pytest.mark.parametrize("tag", [256, 257])
def test_pages_without_pixels_are_refused(tag):
    content = damaged_tag(TIFS["rgba"], tag, 0)
    with pytest.raises(PlateletEMError, match=r"^x\.tif: "):
        read(content, "x.tif", semantic=False)


@pytest.mark.parametrize("config", [0, 3, 48385])
def test_an_unknown_planar_configuration_is_refused(config):
    content = damaged_tag(TIFS["rgb"], 284, config)
    with pytest.raises(PlateletEMError, match=rf"PlanarConfiguration is {config}: write"):
        read(content, "x.tif", semantic=False)


@pytest.mark.parametrize("info", [b'"dtype": "\x9dint64"', b'"d\xebtype": "int64"'])
def test_bytes_of_info_that_are_not_utf_8_are_refused(info):
    content = b'{".info": {"shape": [1, 1, 2], ' + info + b'}, "1": "1 1"}'
    with pytest.raises(LabelFormatError, match=r"^x\.json: at byte \d+: expected UTF-8, got b'"):
        read(content, "x.json", semantic=False)


@pytest.mark.parametrize("string", [b"1 1\n2 1", b"1\\t1\n2 1", b"1\\u000b1 2\x0b1"])
def test_line_ends_in_json_strings_are_refused_with_and_without_escapes(string):
    content = b'{".info": {"shape": [1, 1, 2], "dtype": "int64"}, "1": "' + string + b'"}'
    check_json((content, False))
    with pytest.raises(LabelFormatError, match=r"at character \d+: .*\(Invalid control character"):
        read(content, "x.json", semantic=False)
