"""The README is true: its commands and its Python are run as they stand."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import plain
import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(name):
    return BLOCK.findall((ROOT / name).read_text("utf-8"))


def test_readme_starts_with_the_two_commands():
    kind, first = blocks("README.md")[0]
    assert kind == "sh"
    assert [line.split("#")[0].strip() for line in first.splitlines()] == [
        "make demo",
        "make test",
    ]
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"\n{target}:" in makefile for target in ("demo", "test"))


@pytest.mark.filterwarnings("ignore:.*not writable:UserWarning")
def test_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", sysconfig.get_path("scripts") + os.pathsep + os.environ["PATH"])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    if shutil.which("platelet-em") is None:
        command = tmp_path / "bin" / "platelet-em"
        command.parent.mkdir()
        run_main = "import sys\nfrom _platelet_em.cli import main\nsys.exit(main())\n"
        command.write_text(f"#!{sys.executable}\n{run_main}")
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    names = {}
    ran = []
    for kind, code in blocks("README.md")[1:]:
        if kind == "sh":
            done = subprocess.run(
                ["bash", "-euc", code], check=False, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{code}\n{done.stderr}"
        elif kind == "python":
            exec(compile(code, "README.md", "exec"), names)
        ran.append(kind)
    assert ran.count("python") >= 4
    assert ran.count("sh") >= 4
    assert (tmp_path / "pictures" / "platelet-em-50-z002.png").is_file()


def test_card_names_every_column_and_class(repository):
    from _platelet_em.schema import FEATURES
    from _platelet_em.spec import CLASS_NAMES

    card = (repository / "README.md").read_text()
    body = card.split("---\n", 2)[2]
    for column in (*FEATURES["slices"], *FEATURES["slices"]["organelles"], *CLASS_NAMES):
        assert column in body


DECODE = """
import sys
import datasets, numpy

stream = datasets.load_dataset(sys.argv[1], "slices", split="train", streaming=True)
for z, row in enumerate(stream):
    names = {"row": row}
    exec(open(sys.argv[2]).read(), names)
    assert numpy.array_equal(names["mask"], numpy.load(sys.argv[3])[z])
print(z + 1)
"""


def test_rle_code_of_the_card_runs_without_this_project(
    repository, publication, plain_packages, tmp_path
):
    text = (repository / "README.md").read_text().split("### An RLE text")[1]
    code = BLOCK.search(text)[2]
    assert len(code.splitlines()) == 6
    (tmp_path / "code.py").write_text(code)
    truth = publication.volumes["50"].organelle
    np.save(tmp_path / "truth.npy", truth)
    paths = [repository, tmp_path / "code.py", tmp_path / "truth.npy"]
    assert plain.run(plain_packages, DECODE, *paths).strip() == str(len(truth))
