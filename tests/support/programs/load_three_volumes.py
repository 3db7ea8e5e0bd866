"""Load the third volume of a repository, and from archives, with this version of `datasets`.

Arguments: the repository, the folder of archives.
"""

import sys

import datasets

import platelet_em

repository, archives = sys.argv[1:]
LABELS = ("cells", "organelles", "n_cells", "n_organelles")
for streaming in (False, True):
    for config in ("slices", "volumes"):
        plain = datasets.load_dataset(repository, config, streaming=streaming)
        assert list(plain) == ["train", "validation", "test"]
        for row in [*plain["test"], *plain["test"].with_format("platelet_em")]:
            assert [row[name] for name in LABELS] == [None] * 4
        first = next(iter(plain["train"].with_format("platelet_em")))
        assert isinstance(first["cells"], platelet_em.LazyLabels)
    objects = datasets.load_dataset(repository, "instances", streaming=streaming)
    assert list(objects) == ["train", "validation"]
    assert next(iter(objects["train"]))["kind"] == "cell"
    made = platelet_em.load_dataset(split="test", data_dir=archives, streaming=streaming)
    assert [row["cells"] for row in made] == [None] * 6
print("ok")
