"""`platelet_em.register()`: `datasets` finds the builder by its name, and all else as before."""

from support import ends

FOUND = """
import threading
import platelet_em

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

archives, configs = dict(data_dir=sys.argv[2]), ["slices", "volumes", "preview"]
slices = ("platelet_em", "slices")
assert datasets.get_dataset_config_names("platelet_em") == configs
assert datasets.get_dataset_default_config_name("platelet_em") == "slices"
assert datasets.get_dataset_split_names(*slices, **archives) == ["train", "validation"]
assert list(datasets.get_dataset_infos("platelet_em", **archives)) == configs
builder = datasets.load_dataset_builder(*slices, label_source="tif", **archives)
assert type(builder) is platelet_em.PlateletEM
assert builder.cache_dir == platelet_em.PlateletEM(label_source="tif", **archives).cache_dir

for options in ({}, {"streaming": True}, {"num_proc": 2, "cache_dir": "workers"}):
    for label_source in ("json", "tif"):
        loaded = datasets.load_dataset(
            *slices, label_source=label_source, **options, **archives
        )
        check_both_splits(loaded, label_source)
ids = set()
for label_source in ("json", "tif"):
    [row] = datasets.load_dataset(
        *slices, split="train[3:4]", label_source=label_source, **archives
    )
    ids.add(tuple(row["cells"]["id"]))
assert len(ids) == 2, "the two label sources have ids of their own"
volumes = datasets.load_dataset("platelet_em", "volumes", split="train", **archives)
check_volume(volumes, truth, "50")
print("ok")
"""


def test_datasets_finds_the_builder(end, archives, truth, tmp_path):
    ends.run(end, ends.CHECK_LAZY + FOUND, truth, archives, cwd=tmp_path)


ALL_ELSE = """
import os
import datasets
import platelet_em

os.mkdir("platelet_em")
with open("platelet_em/a.csv", "w") as file:
    file.write("a\\n1\\n2\\n")

def raised(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except Exception as error:
        return type(error), str(error)
    raise AssertionError("no error")

def see():
    names = ("nobody/nothing", "./nowhere", "no_such_name", "")
    return [
        datasets.load_dataset("csv", data_files="platelet_em/a.csv")["train"].to_dict(),
        datasets.load_dataset(path="./platelet_em")["train"].to_dict(),
        datasets.load_dataset(os.path.abspath("platelet_em"))["train"].to_dict(),
        datasets.get_dataset_config_names("./platelet_em"),
        *(raised(datasets.load_dataset, name) for name in names),
        raised(datasets.load_dataset_builder),
        raised(datasets.load_dataset, "platelet_em.py"),
    ]

before = see()
assert datasets.load_dataset("platelet_em")["train"].to_dict() == {"a": [1, 2]}
platelet_em.register()
assert see() == before
# As for the names of datasets' own builders, the name goes before the folder.
assert datasets.load_dataset_builder("platelet_em").config.name == "slices"

error, message = raised(datasets.load_dataset, "platelet_em", data_files="platelet_em/a.csv")
assert error is platelet_em.ArgumentError, error
assert message == "data_files: expected none, got 'platelet_em/a.csv'; give archives as data_dir"
error, message = raised(datasets.load_dataset, "platelet_em", "slices", label_sorce="tif")
assert error is ValueError and "'label_sorce'" in message
print("ok")
"""


def test_all_else_is_found_as_before(end, tmp_path):
    ends.run(end, ALL_ELSE, cwd=tmp_path)
