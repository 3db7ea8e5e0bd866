"""The words and the code of the dataset card are true of the rows."""

import re

import numpy as np
from support import markdown, plain
from support.clients import WITHOUT_TORCH, run_with_us
from support.programs import PROGRAMS


def test_card_names_every_column_and_class(repository):
    from _platelet_em.facts import PUBLISHED
    from _platelet_em.rows.make import SLICES
    from _platelet_em.rows.schema import json_features

    features = json_features(SLICES.columns(PUBLISHED))
    card = (repository / "README.md").read_text()
    body = card.split("---\n", 2)[2]
    for column in (*features, *features["organelles"], *PUBLISHED.class_names):
        assert column in body


def test_the_columns_that_the_card_selects_first_print_in_a_line(repository, loaded):
    card = (repository / "README.md").read_text()
    (code,) = re.findall(r"^ds\[.*select_columns.*$", card, re.MULTILINE)
    row = eval(code, {"ds": loaded})
    assert row["volume"] == "50"
    assert len(repr(row)) < 80


def test_the_code_of_the_card_runs_from_top_to_bottom(repository, archives, tmp_path):
    card = (repository / "README.md").read_text()
    code = [block for language, block in markdown.blocks(card) if language == "python"]
    assert len(code) >= 8
    folder = tmp_path / "folder"
    folder.symlink_to(repository)
    script = "\n".join(code)
    # Files of this machine in place of the Hub's, and of the archive that would be downloaded.
    script = script.replace("hf://datasets/<user>/platelet-em", str(folder))
    script = script.replace("<user>/platelet-em", str(folder))
    script = script.replace(
        'label_source="json"', f'label_source="json", data_dir={str(archives)!r}'
    )
    script += "\nassert mask.any() == bool(labels['id'])\nprint('ok')\n"
    assert "<user>" not in script
    (tmp_path / "card.py").write_text(script)
    environment = {"HF_HOME": str(tmp_path / "home"), **WITHOUT_TORCH}
    assert run_with_us(tmp_path / "card.py", **environment).split()[-1:] == ["ok"]


def test_the_rle_code_of_the_card_runs_without_this_project(
    repository, publication, plain_packages, tmp_path
):
    text = (repository / "README.md").read_text().split("### Decoding an RLE string")[1]
    code = markdown.blocks(text)[0][1]
    assert len(code.splitlines()) == 6
    (tmp_path / "code.py").write_text(code)
    truth = publication.volumes["50"].organelle
    np.save(tmp_path / "truth.npy", truth)
    paths = [repository, tmp_path / "code.py", tmp_path / "truth.npy"]
    out = plain.run(plain_packages, PROGRAMS / "decode_by_card.py", *paths, **WITHOUT_TORCH)
    assert out.split() == [str(len(truth))]
