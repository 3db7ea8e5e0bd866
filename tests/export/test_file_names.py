"""Names of files for volumes with any name."""

import re
from itertools import product

import pytest

from _platelet_em.export.file_names import distinct_names, safe_names


def test_names_that_every_tool_takes_stay():
    names = ["50", "a-b_c.d", "Stack1", "x" * 200]
    assert safe_names(names) == {name: name for name in names}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ('Stack 1 "ü"', "Stack_1__u_"),
        ("Größe", "Gro_e"),
        ("it's [1]", "it_s__1_"),
        (".hidden", "_hidden"),
        ("-option", "_option"),
        ("..", "_."),
        ("日本", "__"),
        ("é" * 100, "e" * 100),
    ],
)
def test_other_characters_are_replaced(name, expected):
    assert safe_names([name]) == {name: expected}


def test_a_name_that_stays_is_not_given_to_another_volume():
    expected = {"a b": "a_b-3", "a_b": "a_b", "A_B": "A_B-2", "a-b": "a-b"}
    assert safe_names(["a b", "a_b", "A_B", "a-b"]) == expected


def test_all_names_differ_whatever_the_case_and_are_short_enough():
    names = [
        *("ﷺ" * n for n in range(1, 60)),
        *(f"{c * 66}{i}" for c in "日é a" for i in range(9)),
    ]
    found = safe_names(names)
    assert [*found] == names
    assert len({name.casefold() for name in found.values()}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}", name) for name in found.values())


def test_a_refused_ending():
    found = safe_names(["x_seg", "x_seg_", "seg", "y" * 196 + "_seg"], refused_ending="_seg")
    assert found == {
        "x_seg": "x_seg_-2",
        "x_seg_": "x_seg_",
        "seg": "seg",
        "y" * 196 + "_seg": "y" * 196 + "_se_",
    }


def test_names_that_some_systems_take_for_the_same_are_numbered():
    accent, combined = "\u00e9", "e\u0301"
    names = ["a", "A", accent, combined, "stra\u00dfe", "STRASSE", "A-2", "a/2", "Stack 1"]
    assert distinct_names(names) == {
        **{name: name for name in names},
        "A": "A-3",
        combined: f"{combined}-2",
        "STRASSE": "STRASSE-2",
    }


@pytest.mark.parametrize("rename", [safe_names, distinct_names])
def test_thousands_of_names_that_become_the_same_are_numbered_in_order(rename):
    count = 4096
    names = ["".join(each) for each in product(*["a\u00e0"] * 12)]
    if rename is distinct_names:
        names = ["".join(each) for each in product(*["aA"] * 12)]
    found = rename(names)
    endings = [name.partition("-")[2] for name in found.values()]
    assert endings == ["", *map(str, range(2, count + 1))]
