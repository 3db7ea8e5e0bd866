"""Load the archives by the name "platelet_em", after `register`; everything else as before.

Arguments: the voxels, the archives. Prints ok at the end.
"""

import sys
import threading
from pathlib import Path

import datasets
from check_lazy import check_both_splits
from check_rows import check_volume, read_truth

import platelet_em

truth, archives = read_truth(sys.argv[1]), {"data_dir": sys.argv[2]}
SLICES = ("platelet_em", "slices")
NAMES_OF_OTHERS = ("nobody/nothing", "./nowhere", "no_such_name", "")


def raised(call, *arguments, **options):
    """Class and message of the exception that a call raises."""
    try:
        call(*arguments, **options)
    except Exception as error:  # noqa: BLE001  # whichever it is
        return type(error), str(error)
    raise AssertionError("no error")


def load_others():
    """What `datasets` finds under other names, where a folder is called platelet_em."""
    return [
        datasets.load_dataset("csv", data_files="platelet_em/a.csv")["train"].to_dict(),
        datasets.load_dataset(path="./platelet_em")["train"].to_dict(),
        datasets.load_dataset(str(Path("platelet_em").resolve()))["train"].to_dict(),
        datasets.get_dataset_config_names("./platelet_em"),
        *(raised(datasets.load_dataset, name) for name in NAMES_OF_OTHERS),
        raised(datasets.load_dataset_builder),
        raised(datasets.load_dataset, "platelet_em.py"),
    ]


def check_registration():
    find = datasets.load.dataset_module_factory
    assert datasets.inspect.dataset_module_factory is find, "importing registers nothing"
    threads = [threading.Thread(target=platelet_em.register) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert platelet_em.register() is None
    for module in (datasets.load, datasets.inspect):
        assert module.dataset_module_factory.__wrapped__ is find, "it is wrapped once"


def check_builder():
    configs = ["slices", "volumes", "instances", "preview"]
    assert datasets.get_dataset_config_names("platelet_em") == configs
    assert datasets.get_dataset_default_config_name("platelet_em") == "slices"
    assert datasets.get_dataset_split_names(*SLICES, **archives) == ["train", "validation"]
    assert list(datasets.get_dataset_infos("platelet_em", **archives)) == configs
    builder = datasets.load_dataset_builder(*SLICES, label_source="tif", **archives)
    assert type(builder) is platelet_em.PlateletEM
    assert builder.cache_dir == platelet_em.PlateletEM(label_source="tif", **archives).cache_dir


def check_errors():
    error, message = raised(datasets.load_dataset, "platelet_em", data_files="platelet_em/a.csv")
    assert error is platelet_em.ArgumentError, error
    assert message == (
        "data_files: expected none, got 'platelet_em/a.csv'; give archives as data_dir"
    )
    error, message = raised(datasets.load_dataset, *SLICES, label_sorce="tif")
    assert error is ValueError
    assert "'label_sorce'" in message


def check_rows():
    for options in ({}, {"streaming": True}, {"num_proc": 2, "cache_dir": "workers"}):
        for label_source in ("json", "tif"):
            loaded = datasets.load_dataset(
                *SLICES, label_source=label_source, **options, **archives
            )
            check_both_splits(loaded, truth, label_source)
    ids = set()
    for label_source in ("json", "tif"):
        [row] = datasets.load_dataset(
            *SLICES, split="train[3:4]", label_source=label_source, **archives
        )
        ids.add(tuple(row["cells"]["id"]))
    assert len(ids) == 2, "the two label sources have ids of their own"
    volumes = datasets.load_dataset("platelet_em", "volumes", split="train", **archives)
    check_volume(volumes, truth, "50")


Path("platelet_em").mkdir()
Path("platelet_em", "a.csv").write_text("a\n1\n2\n")
before = load_others()
assert datasets.load_dataset("platelet_em")["train"].to_dict() == {"a": [1, 2]}
check_registration()
assert load_others() == before
# As with the names of the builders of datasets itself, the name precedes the folder.
check_builder()
check_errors()
check_rows()
print("ok")
