"""The private names of `datasets` that hf/private.py uses, and what it does with them."""

import ast
from collections.abc import Mapping
from contextlib import nullcontext
from inspect import signature
from pathlib import Path

import datasets
import pytest
from datasets import formatting, inspect, load, streaming
from datasets.features import features

import platelet_em
from _platelet_em.hf import private
from _platelet_em.hf.formatter import PlateletEMFormatter

NAMES = [
    (formatting, "_FORMAT_TYPES"),
    (formatting, "_register_formatter"),
    (formatting.formatting, "TensorFormatter"),
    (formatting.formatting.TensorFormatter, "recursive_tensorize"),
    (PlateletEMFormatter().python_features_decoder, "decode_column"),
    (features, "Mapping"),
    (load, "dataset_module_factory"),
    (inspect, "dataset_module_factory"),
    (load, "DatasetModule"),
]
"""Each name with an object that has it; a release that moves one fails here first."""

LOCK = "lock_importable_file"
"""A name that only `datasets` 3 has."""


@pytest.mark.parametrize(("owner", "name"), NAMES, ids=[name for _, name in NAMES])
def test_the_name_exists(owner, name):
    assert hasattr(owner, name)


def test_only_datasets_3_locks_the_source_of_a_builder():
    major = int(datasets.__version__.split(".")[0])
    assert hasattr(streaming, LOCK) == (major < 4)


def test_no_private_name_is_used_that_is_not_listed_here():
    tree = ast.parse(Path(private.__file__).read_text("utf-8"))
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    wrapped = {call.args[1].value for call in calls if getattr(call.func, "id", "") == "_wrap"}
    assert len(wrapped) == 2
    used = wrapped | {name for name in attributes if name.startswith("_") and name[1] != "_"}
    assert used <= {name for _, name in NAMES} | {LOCK}


def test_the_names_are_used_as_before():
    for module in (load, inspect):
        assert next(iter(signature(module.dataset_module_factory).parameters)) == "path"
    for caller in (load.load_dataset_builder, inspect.get_dataset_config_names):
        assert "dataset_module_factory" in caller.__code__.co_names
    fields = ("module_path", "hash", "builder_kwargs")
    assert tuple(signature(load.DatasetModule).parameters)[:3] == fields
    assert "Mapping" in features._cast_to_python_objects.__code__.co_names


# --- the format -------------------------------------------------------------------------------


def test_the_format_is_registered_by_the_import():
    assert private.is_registered("platelet_em")
    assert not private.is_registered("platelet-em")
    assert formatting._FORMAT_TYPES["platelet_em"] is PlateletEMFormatter


@pytest.fixture
def mapping(monkeypatch):
    """Set the `Mapping` of `datasets.features.features` for one test."""

    def replace(cls):
        monkeypatch.setattr(features, "Mapping", cls)

    return replace


def test_labels_are_written_as_structs(mapping, caplog):
    mapping(Mapping)
    labels = platelet_em.LazyLabels((2, 2), [3], ["1 2"])
    assert not isinstance(labels, Mapping)
    private.write_as_structs(platelet_em.LazyLabels)
    assert isinstance(labels, features.Mapping)
    assert isinstance({}, features.Mapping)
    assert not isinstance([], features.Mapping)
    replaced = features.Mapping
    private.write_as_structs(platelet_em.LazyLabels)
    assert features.Mapping is replaced
    assert not caplog.records


def test_a_mapping_that_was_replaced_first_is_left_alone_with_a_warning(mapping, caplog):
    class OfSomebodyElse:
        pass

    mapping(OfSomebodyElse)
    for _ in range(3):  # once per formatter, so once per row
        private.write_as_structs(platelet_em.LazyLabels)
    assert features.Mapping is OfSomebodyElse
    [record] = caplog.records
    assert record.levelname == "WARNING"
    message = record.getMessage()
    assert "datasets.features.features.Mapping was replaced by" in message
    assert "OfSomebodyElse" in message
    assert "return dict(labels.items()) instead" in message


# --- the builder ------------------------------------------------------------------------------


def test_datasets_3_locks_all_sources_but_that_of_our_builder(monkeypatch):
    locked = []
    monkeypatch.setattr(streaming, LOCK, locked.append, raising=False)
    for _ in range(2):
        private.prepare_for_builder()
    assert isinstance(streaming.lock_importable_file(platelet_em.__file__), nullcontext)
    assert locked == []
    streaming.lock_importable_file("script.py")
    assert locked == ["script.py"]
