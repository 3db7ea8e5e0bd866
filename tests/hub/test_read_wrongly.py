"""Repositories that plain `datasets` reads wrongly are found by `verify`, and never pushed.

Plain `datasets` is the oracle: each damage says what it does with such a repository.
"""

import io
import json
import re
import shutil

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from support import verified

from _platelet_em.commands.cli import main
from _platelet_em.facts import PUBLISHED
from _platelet_em.hub.build import build
from _platelet_em.hub.integrity import read_build
from _platelet_em.hub.record import sha256

SHARD = "slices/train-00003-of-00008.parquet"
PREVIEWS = "preview/train-00000-of-00001.parquet"


# --- damages ----------------------------------------------------------------------------------


def in_yaml(change):
    """A damage that changes the fields of the card's YAML."""

    def damage(folder):
        card = (folder / "README.md").read_text()
        _, head, rest = card.split("---\n", 2)
        fields = yaml.safe_load(head)
        change(fields)
        text = yaml.safe_dump(fields, sort_keys=False)
        (folder / "README.md").write_text(f"---\n{text}---\n{rest}")

    return damage


def in_card(pattern, new):
    """A damage that replaces a text of the card."""

    def damage(folder):
        text = (folder / "README.md").read_text()
        changed = re.sub(pattern, new, text, count=1, flags=re.DOTALL)
        assert changed != text
        (folder / "README.md").write_text(changed)

    return damage


def in_croissant(change):
    """A damage that changes croissant.json."""

    def damage(folder):
        document = json.loads((folder / "croissant.json").read_text())
        change(document)
        (folder / "croissant.json").write_text(json.dumps(document))

    return damage


def copy_shard(name):
    return lambda folder: shutil.copy(folder / SHARD, folder / name)


def write(name, text):
    return lambda folder: (folder / name).write_text(text)


def exchange_splits(fields):
    first, second = fields["configs"][0]["data_files"]
    first["path"], second["path"] = second["path"], first["path"]


def set_path(path):
    return lambda fields: fields["configs"][0]["data_files"][0].update(path=path)


def leave_out_a_split(fields):
    fields["configs"][0]["data_files"].pop()


def rename_classes(fields):
    classes = fields["dataset_info"][0]["features"][-1]["struct"][-3]["list"]["class_label"]
    classes["names"]["4"], classes["names"]["6"] = classes["names"]["6"], classes["names"]["4"]


def retype(fields):
    next(f for f in fields["dataset_info"][0]["features"] if f["name"] == "z")["dtype"] = "int64"


def set_figure(key, value):
    return lambda fields: fields["dataset_info"][0]["splits"][0].update({key: value})


def exchange_card_pictures(folder):
    first, second = (folder / "pictures" / f"volume-{name}.png" for name in ("50", "24"))
    pictures = first.read_bytes(), second.read_bytes()
    second.write_bytes(pictures[0])
    first.write_bytes(pictures[1])


def rewrite_with_sums(folder, name, change):
    """Rewrite a data file, and everything that states its size or checksum: a careful forger."""
    table = pq.read_table(folder / name)
    rows = table.to_pylist()
    change(rows)
    verified.write_table(table.from_pylist(rows, schema=table.schema), folder / name)

    def correct(document):
        file = next(n for n in document["distribution"] if n.get("contentUrl") == name)
        file["sha256"] = sha256(folder / name)
        file["contentSize"] = f"{(folder / name).stat().st_size} B"

    in_croissant(correct)(folder)


def exchange_previews(folder):
    def exchange(rows):
        rows[0]["preview"], rows[5]["preview"] = rows[5]["preview"], rows[0]["preview"]

    rewrite_with_sums(folder, PREVIEWS, exchange)


def foreign_preview_of_the_volume(folder):
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG")
    cell = {"bytes": out.getvalue(), "path": "50-preview-004.png"}
    rewrite_with_sums(
        folder, "volumes/train-00000-of-00001.parquet", lambda rows: rows[0].update(preview=cell)
    )


def other_classes_in_parquet(folder):
    """Without the card's features, `datasets` reads those in the Parquet metadata."""
    for path in (folder / "slices").iterdir():
        table = pq.read_table(path)
        metadata = dict(table.schema.metadata)
        features = metadata[b"huggingface"].replace(b"canalicular vessel", b"vessel")
        assert features != metadata[b"huggingface"]
        table = table.replace_schema_metadata({**metadata, b"huggingface": features})
        verified.write_table(table, path)


STANDALONE = """configs:
- config_name: slices
  data_files:
  - {split: train, path: slices/validation-*.parquet}
"""

WRONG, FAILS, SAME = "reads something else", "fails", "reads the same"
DAMAGES = {
    # name: (what to do, check, file, texts of the finding in order, what plain datasets does)
    "splits exchanged": (
        in_yaml(exchange_splits), "card", "README.md",
        "[slices].data_files[train].path|'slices/train-*.parquet'|'slices/validation-*", FAILS),
    "a narrow glob": (
        in_yaml(set_path("slices/train-0000[0-3]-*.parquet")), "card", "README.md",
        "data_files[train].path|'slices/train-*.parquet'|'slices/train-0000[0-3]-*", FAILS),
    "a wide glob": (
        in_yaml(set_path("slices/*.parquet")), "card", "README.md",
        "data_files[train].path||'slices/*.parquet'", FAILS),
    "splits exchanged, without figures": (
        in_yaml(lambda f: (exchange_splits(f), f.pop("dataset_info"))), "card", "README.md",
        "dataset_info||nothing", WRONG),
    "a narrow glob, without figures": (
        in_yaml(lambda f: (set_path("slices/train-00000*")(f), f.pop("dataset_info"))),
        "card", "README.md", "data_files[train].path||'slices/train-00000*'", WRONG),
    "no split validation": (
        in_yaml(leave_out_a_split), "card", "README.md",
        "configs[slices].data_files|2 entries|1", FAILS),
    "another default": (
        in_yaml(lambda f: f["configs"][0].pop("default")), "card", "README.md",
        "configs[slices].default|True|nothing", SAME),
    "no configs": (
        in_yaml(lambda f: f.pop("configs")), "card", "README.md", "configs||nothing", FAILS),
    "no YAML": (
        in_card("^---\n.*?\n---\n", ""), "card", "README.md", "YAML||none", FAILS),
    "damaged YAML": (
        in_card("^---\n", "---\na: [\n"), "card", "README.md", "|a card|YAML that", FAILS),
    "a key twice": (
        in_card("\nconfigs:", "\nconfigs: []\nconfigs:"), "card", "README.md",
        "||the key 'configs' more than once", SAME),
    "YAML that refers to itself": (
        in_card("\nlicense: other", "\nx: &a [1]\ny: *a\nlicense: other"), "card", "README.md",
        "||an alias", SAME),
    "endless YAML": (
        in_card("\nlicense: other", "\nx:" + "\n- 1" * 70_000 + "\nlicense: other"), "card",
        "README.md", "characters of YAML, expected at most", SAME),
    "other class names": (
        in_yaml(rename_classes), "card", "README.md",
        "features[organelles].struct[class_id]|'canalicular vessel'|'dense granule core'", WRONG),
    "another type": (
        in_yaml(retype), "card", "README.md", "features[z].dtype|'int32'|'int64'", WRONG),
    "class names in Parquet": (
        other_classes_in_parquet, "schema", SHARD,
        "features.organelles.class_id.feature.names[4]|'canalicular vessel'|'vessel'", SAME),
    "stale number of rows": (
        in_yaml(set_figure("num_examples", 8)), "card", "README.md",
        "splits[train].num_examples|9|8", FAILS),
    "stale number of bytes": (
        in_yaml(set_figure("num_bytes", 8)), "card", "README.md",
        "splits[train].num_bytes||8", SAME),
    "another license": (
        in_yaml(lambda f: f.update(license="mit")), "card", "README.md",
        "license|'other'|'mit'", SAME),
    "a license beside it": (
        in_yaml(lambda f: f.update(license_name="mine")), "card", "README.md",
        "license_name|'cleared-for-public-release'|'mine'", SAME),
    "stale size in the table": (
        in_card(r"\| 8 \| [\d.]+ MB \|", "| 8 | 9.9 MB |"), "card", "README.md",
        "files table|MB|9.9 MB", SAME),
    "stale counts in the table": (
        in_card(r"9 x 7 x 61 \| \d+", "9 x 7 x 61 | 1"), "card", "README.md",
        "volumes table|9 x 7 x 61 | 3843|9 x 7 x 61 | 1", SAME),
    "no table of classes": (
        in_card(r"\| index \| class.*?\n\n", "\n"), "card", "README.md",
        "classes table|index|none", SAME),
    "no warning": (
        in_card(r"\*\*WARNING: not built[^\n]*", ""), "card", "README.md",
        "origin warning|WARNING|no such text", SAME),
    "pictures of the card exchanged": (
        exchange_card_pictures, "picture", "volume-50.png",
        "|the middle slice of volume 50|another picture", SAME),
    "previews exchanged": (
        exchange_previews, "previews", PREVIEWS, "a picture of its slice|another picture", SAME),
    "a foreign preview": (
        foreign_preview_of_the_volume, "previews", "volumes/train-00000-of-00001.parquet",
        "a picture of its slice|another picture", SAME),
    "an old shard": (
        copy_shard("slices/train-old.parquet"), "others", "train-old.parquet",
        "no file that datasets may read|move it away", FAILS),
    "a copied shard": (
        copy_shard("slices/train-00000-of-00008 (1).parquet"), "others", "(1).parquet",
        "move it away", FAILS),
    "another split": (
        copy_shard("slices/test-00000-of-00001.parquet"), "others", "test-00000-of-00001.parquet",
        "move it away", SAME),
    "a table": (write("notes.csv", "a,b\n1,2\n"), "others", "notes.csv", "move it away", SAME),
    "a packed table": (
        write("more.JSONL.gz", ""), "others", "more.JSONL.gz", "move it away", SAME),
    "old metadata": (
        write("dataset_infos.json", "{"), "others", "dataset_infos.json", "move it away", FAILS),
    "a saved dataset": (write("state.json", "{}"), "others", "state.json", "move it away", FAILS),
    "a script": (write("repo.py", ""), "others", "repo.py", "move it away", FAILS),
    "metadata beside the card": (
        write(".huggingface.yaml", STANDALONE), "others", ".huggingface.yaml", "move it away",
        FAILS),
    "license in croissant.json": (
        in_croissant(lambda d: d["license"].update(name="mit")), "croissant", "croissant.json",
        "license.name|'other'|'mit'", SAME),
    "words of the license in croissant.json": (
        in_croissant(lambda d: d["license"].update(description="free")), "croissant",
        "croissant.json", "license.description||'free'", SAME),
    "splits in croissant.json": (
        in_croissant(lambda d: d["distribution"][0]["includes"].reverse()), "croissant",
        "croissant.json", "includes[0]|'slices/train-*.parquet'|'slices/validation", SAME),
    "columns in croissant.json": (
        in_croissant(lambda d: d["recordSet"][0]["field"].pop()), "croissant",
        "croissant.json", "recordSet[slices].field||", SAME),
    "the sample in croissant.json": (
        in_croissant(lambda d: d.update(description="Made from the synthetic sample of the tool, "
                                        "not from data. It imitates: ...")),
        "croissant", "croissant.json", "description|'Two 3D|'Made from", SAME),
}  # fmt: skip


# --- plain datasets ---------------------------------------------------------------------------


def load_plainly(folder, cache):
    """What plain `datasets` loads: the features, and what each row of each split is."""
    loaded = datasets.load_dataset(str(folder), "slices", cache_dir=str(cache))
    rows = {split: list(zip(d["volume"], d["z"], strict=True)) for split, d in loaded.items()}
    return {split: str(d.features) for split, d in loaded.items()}, rows


@pytest.fixture(scope="module")
def right(flat_repository, tmp_path_factory):
    """What it loads from the repository without damage."""
    return load_plainly(flat_repository, tmp_path_factory.mktemp("right"))


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.usefixtures("inspected_once")
def test_what_is_read_wrongly_is_found_and_refused(name, flat_repository, right, tmp_path, capsys):
    damage, check, file, texts, behavior = DAMAGES[name]
    folder = shutil.copytree(flat_repository, tmp_path / "repo")
    damage(folder)
    try:
        loaded = load_plainly(folder, tmp_path / "cache")
    except Exception:  # noqa: BLE001  # it raises exceptions of many classes
        loaded = None
    assert (FAILS if loaded is None else SAME if loaded == right else WRONG) == behavior
    assert read_build(folder, PUBLISHED) is None
    code, report = verified.run(capsys, folder)
    assert code == 1
    found = [
        f"{place.get('field', '')} {text}"
        for found_check, found_file, place, text in verified.findings(report, "error")
        if found_check == check and found_file.endswith(file)
    ]
    pattern = ".*".join(map(re.escape, texts.split("|")))
    assert any(re.search(pattern, text, re.DOTALL) for text in found), found


def test_an_unreadable_preview_hides_no_other(flat_repository, tmp_path, capsys):
    def damage(rows):
        rows[1]["preview"]["bytes"] = b"no picture"
        rows[4]["preview"] = rows[0]["preview"]

    folder = shutil.copytree(flat_repository, tmp_path / "repo")
    rewrite_with_sums(folder, PREVIEWS, damage)
    code, report = verified.run(capsys, folder)
    found = [
        (place.get("row"), text)
        for check, _, place, text in verified.findings(report, "error")
        if check == "previews"
    ]
    assert (code, len(found), found[1][0]) == (1, 2, 4)
    assert "row 1: preview: expected an encoded picture" in found[0][1]


# --- repositories without a finding -----------------------------------------------------------


HARMLESS = {
    "LICENSE": "mine", ".gitattributes": "*", "notes.txt": "a", ".git/config": "", "a.py": "",
    ".cache/data.csv": "a", "__pycache__/data.json": "{}", "pictures/mine.png": "a",
}  # fmt: skip


@pytest.mark.parametrize("label_source", ["json", "tif"])
def test_a_clean_repository_with_files_of_the_user_has_no_finding(
    label_source, tidy_archives, tmp_path, capsys
):
    folder = build(tmp_path / "repo", data_dir=tidy_archives, label_source=label_source)
    for name, text in HARMLESS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    assert read_build(folder, PUBLISHED)
    code, report = verified.run(capsys, folder)
    assert verified.findings(report, "error") == []
    assert code == 0


def test_text_of_the_card_may_be_edited(flat_repository, tmp_path):
    folder = shutil.copytree(flat_repository, tmp_path / "repo")
    in_yaml(lambda fields: fields.update(tags=["mine"], pretty_name="Mine"))(folder)
    in_card("A dense granule is one organelle", "A granule")(folder)
    in_card("## License\n", "## License\n\n| index | of mine |\n| --- | --- |\n")(folder)
    assert read_build(folder, PUBLISHED)


def test_a_build_does_not_begin_beside_data_that_would_be_read(flat_archives, tmp_path, capsys):
    out = tmp_path / "repo"
    (out / "slices").mkdir(parents=True)
    (out / "slices" / "train-old.parquet").write_bytes(b"mine")
    assert main(["build", str(out), "--data-dir", str(flat_archives)]) == 1
    assert "train-old.parquet: datasets may read this file besides" in capsys.readouterr().err
    assert [path.name for path in out.rglob("*")] == ["slices", "train-old.parquet"]


def test_pictures_of_another_version_of_pillow_are_the_same(flat_repository, tmp_path):
    folder = shutil.copytree(flat_repository, tmp_path / "repo")
    path = folder / "pictures" / "volume-50.png"
    with Image.open(path) as picture:
        pixels = np.asarray(picture)
    noise = np.random.default_rng(0).integers(-2, 3, pixels.shape)
    Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(path)
    assert read_build(folder, PUBLISHED)
