"""Own volumes in `platelet-em verify`: files, repositories built from them, and both together."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile
from support.own import FORMS, write_own
from support.verified import findings, run

from _platelet_em.arrays.page import decode_page, encode_page
from _platelet_em.description.parse import read_description
from _platelet_em.hub.build import build
from _platelet_em.verify import stored_rows
from _platelet_em.verify.run import verify


@pytest.fixture(params=FORMS)
def own(request, tmp_path):
    """A set of own volumes of each form."""
    options = {"with_classes": True} if request.param == "multipage" else {}
    return write_own(tmp_path / "set", request.param, **options)


def build_own(own, out):
    return build(out, spec=read_description(own.description))


def rewrite(path, change):
    """Write a Parquet file again with its table changed, as one row group."""
    table = pq.read_table(path)
    pq.write_table(
        change(table).replace_schema_metadata(table.schema.metadata),
        path,
        compression="zstd",
        use_dictionary=False,
    )


def test_files_and_repository_have_no_errors(own, tmp_path, capsys):
    assert run(capsys, own.description)[0] == 0
    out = build_own(own, tmp_path / "repo")
    code, report = run(capsys, out)
    assert (code, findings(report, "error")) == (0, [])
    code, report = run(capsys, own.description, out)
    assert (code, findings(report, "error")) == (0, [])
    compared = [s for s in report["sections"] if ", against " in s["title"]]
    with_rows = [s for s in compared if "images" in s["figures"]]
    assert len(with_rows) >= 2 * len(own.volumes), "slices and volumes of each"
    assert all(section["figures"]["images"] == 0 for section in with_rows)


def test_another_file_than_that_of_the_build_is_located(tmp_path, capsys):
    own = write_own(tmp_path / "set", "multipage")
    out = build_own(own, tmp_path / "repo")
    image = tmp_path / "set" / "second-image.tif"
    array = tifffile.imread(image)
    array[4, 2, 9] ^= 1
    tifffile.imwrite(image, array, photometric="minisblack")
    code, report = run(capsys, own.description, out)
    found = [f for f in findings(report, "error") if f[0] == "images voxels"]
    assert code == 1
    assert found
    assert found[0][2] == {"volume": "second", "z": 4, "y": 2, "x": 9}


def test_a_class_or_instance_out_of_place_is_an_error_of_its_row(tmp_path, capsys):
    own = write_own(tmp_path / "set", "pictures")
    out = build_own(own, tmp_path / "repo")
    path = next((out / "slices").glob("test-00000-*"))

    def shift(table):
        rows = table["particles"].to_pylist()
        rows[0]["area"][0] += 1
        column = pa.array(rows, table.schema.field("particles").type)
        return table.set_column(table.column_names.index("particles"), "particles", column)

    rewrite(path, shift)
    code, report = run(capsys, out)
    assert code == 1
    assert "area" in {check for check, *_ in findings(report, "error")}


def test_rows_under_the_name_of_another_volume_are_errors(tmp_path, capsys):
    own = write_own(tmp_path / "set", "pictures")
    out = build_own(own, tmp_path / "repo")
    path = next((out / "slices").glob("train-00000-*"))

    def rename(table):
        names = ["somebody", *table["volume"].to_pylist()[1:]]
        return table.set_column(table.column_names.index("volume"), "volume", pa.array(names))

    rewrite(path, rename)
    code, report = run(capsys, out)
    errors = findings(report, "error")
    assert code == 1
    assert any(check == "volume" and "somebody" in found for check, *_, found in errors)
    assert any(check == "shape" for check, *_ in errors), "a volume lacks its row"


def test_an_image_of_another_shape_than_the_description_is_an_error(tmp_path, capsys):
    own = write_own(tmp_path / "set", "pictures")
    out = build_own(own, tmp_path / "repo")
    path = out / "description.json"
    truth = own.of("train")[0]
    _, height, width = truth.image.shape
    text = path.read_text("utf-8")
    squeezed = "".join(text.split())
    assert f'"shape":[1,{height},{width}]' in squeezed
    path.write_text(text.replace(f"{width}\n", f"{width + 1}\n", 1), "utf-8")
    code, report = run(capsys, out)
    assert code == 1
    assert any(check == "shape" for check, *_ in findings(report, "error"))


@pytest.mark.parametrize(
    ("old", "new", "expected", "found"),
    [
        ('"membrane"', '"wall"', "'wall'", "'membrane'"),
        ("[50, 4.6, 4.6]", "[50, 4.6, 4.7]", "(50.0, 4.6, 4.7)", "(50.0, 4.6, 4.6)"),
        ('kind = "mitochondrion"', 'kind = "mito"', "'kind': 'mito'}", "'kind': 'mitochondrion'}"),
        ('"mitochondrion" }]', '"mitochondrion" }, "other"]', "'mitochondria', 'other')", "a')"),
    ],
)
def test_a_repository_of_another_description_is_an_error(
    tmp_path, capsys, old, new, expected, found
):
    own = write_own(tmp_path / "set", "stack")
    out = build_own(own, tmp_path / "repo")
    text = own.description.read_text("utf-8")
    assert text.count(old) == 1
    own.description.write_text(text.replace(old, new), "utf-8")
    code, report = run(capsys, own.description, out)
    assert code == 1
    texts = [text for check, *_, text in findings(report, "error") if check == "description"]
    assert len(texts) == 1
    assert expected in texts[0]
    assert found in texts[0]


@pytest.mark.parametrize(
    ("old", "new", "expected", "found"),
    [
        ('split = "validation"', 'split = "test"', "in split test", "in split validation"),
        ('name = "unlabeled"', 'name = "other"', "volume 'other' in", "no volume 'other'"),
        ('name = "unlabeled"', 'name = "other"', "no volume 'unlabeled'", "volume 'unlabeled' in"),
        ("mitochondria = {", "#", "labels of semantic ", "labels of semantic, mitochondria"),
    ],
)
def test_volumes_that_only_one_of_them_has_are_errors(tmp_path, capsys, old, new, expected, found):
    """They were passed over: there is nothing to compare."""
    own = write_own(tmp_path / "set", "stack")
    out = build_own(own, tmp_path / "repo")
    text = own.description.read_text("utf-8")
    assert text.count(old) == 1
    own.description.write_text(text.replace(old, new), "utf-8")
    code, report = run(capsys, own.description, out)
    texts = [text for check, *_, text in findings(report, "error") if check == "description"]
    assert code == 1
    assert any(expected in text and found in text for text in texts), texts


def test_a_shape_that_is_stated_is_checked(tmp_path, capsys):
    own = write_own(tmp_path / "set", "stack")
    text = own.description.read_text("utf-8")
    stated = text.replace(
        'image = "unlabeled.tif"', 'image = "unlabeled.tif"\nshape = [3, 24, 20]'
    )
    own.description.write_text(stated, "utf-8")
    assert run(capsys, own.description)[0] == 0
    own.description.write_text(stated.replace("24, 20]", "20, 24]"), "utf-8")
    code, report = run(capsys, own.description)
    assert code == 1
    assert "expected the shape (3, 20, 24)" in str(findings(report, "error"))


def test_a_folder_beside_own_volumes_is_no_archive(tmp_path, capsys):
    own = write_own(tmp_path / "set", "pictures")
    code, report = run(capsys, own.description, tmp_path / "set")
    errors = findings(report, "error")
    assert code == 1
    assert [check for check, *_ in errors] == ["repository"]
    assert "expected the publisher" not in str(report)


def test_the_questions_about_the_archives_are_not_asked(tmp_path, capsys):
    own = write_own(tmp_path / "set", "pictures")
    from _platelet_em.commands.cli import main

    assert main(["verify", str(own.description)]) == 0
    assert "not answered" not in capsys.readouterr().out


def test_only_one_description_is_verified(tmp_path, capsys):
    from _platelet_em.commands.cli import main

    first, second = (write_own(tmp_path / name, "pictures").description for name in "ab")
    assert main(["verify", str(first), str(second)]) == 1
    assert "expected one description at most" in capsys.readouterr().err


def test_what_is_no_damage_in_own_volumes(tmp_path, capsys):
    """A slice of one value, labels without a voxel, equal slices: of the publisher, all damage."""
    folder = tmp_path / "set"
    folder.mkdir()
    image = np.zeros((3, 40, 40), np.uint8)
    tifffile.imwrite(folder / "image.tif", image, photometric="minisblack")
    tifffile.imwrite(folder / "ids.tif", image.astype(np.uint16), photometric="minisblack")
    (folder / "my.toml").write_text(
        'name = "empty"\ninstances = ["things"]\n[[volumes]]\nname = "v"\nsplit = "train"\n'
        'image = "image.tif"\nthings = "ids.tif"\n'
    )
    out = build(tmp_path / "repo", spec=read_description(folder / "my.toml"))
    assert run(capsys, folder / "my.toml", out)[0] == 0


def test_files_of_many_volumes_are_not_listed_for_each_of_them(tmp_path, monkeypatch):
    out = build_own(write_own(tmp_path / "set", "pictures", count=30), tmp_path / "repo")
    read, listed = stored_rows.ParquetRows.__init__, []

    def count(rows, files, columns):
        listed.append(files)
        read(rows, files, columns)

    monkeypatch.setattr(stored_rows.ParquetRows, "__init__", count)
    assert not verify([out]).errors
    assert len(listed) < 30


def test_slices_of_one_volume_have_one_dtype(tmp_path, capsys):
    own = write_own(tmp_path / "set", "stack")
    out = build_own(own, tmp_path / "repo")
    path = sorted((out / "slices").glob("train-*"))[2]

    def widen(table):
        rows = table["image"].to_pylist()
        page = decode_page(rows[0]["bytes"]).astype(np.uint16)
        rows[0]["bytes"] = encode_page(page)
        column = pa.array(rows, table.schema.field("image").type)
        return table.set_column(table.column_names.index("image"), "image", column)

    rewrite(path, widen)
    code, report = run(capsys, out)
    assert code == 1
    found = [text for check, *_, text in findings(report, "error") if check == "page"]
    assert any("uint16" in str(text) for text in found)


@pytest.mark.parametrize("config", ["slices", "volumes", "preview"])
def test_names_of_volumes_that_cannot_be_read_are_an_error(config, tmp_path, capsys):
    own = write_own(tmp_path / "set", "pictures")
    out = build_own(own, tmp_path / "repo")
    path = next((out / config).glob("train-00000-*"))
    with pq.ParquetFile(path) as file:
        columns = file.metadata.row_group(0)
        found = (columns.column(i) for i in range(columns.num_columns))
        column = next(c for c in found if c.path_in_schema == "volume")
    content = bytearray(path.read_bytes())
    content[column.data_page_offset + column.total_compressed_size - 1] ^= 1
    path.write_bytes(content)
    code, report = run(capsys, out)
    assert code == 1
    assert ("rows", str(path)) in {(f[0], f[1]) for f in findings(report, "error")}
