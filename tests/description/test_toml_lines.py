"""Lines of keys: every number in these texts is its own line."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _platelet_em.description.toml_lines import find_lines

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HARD = '''\
# a = 1
top = 2 # b = 2
"quoted key" = 3
'literal.key' = 4
dotted . key."in parts" = 5
text = "x = 1 # [no] \\" [[no]]"
many = """
not = 1
[not]
\\""" "quotes" """
after = 11
literal = \'\'\'
[[not]]
a = 'b' \'\'\'\'
after_literal = 15
array = [ # comment ] with a bracket
  17, "]", 17,
  18, [ 18,
  19 ], { x = 19, "y z" = "}" , n = { m = 19 } },
  20, # last
]
"\\u00e9\\n" = 22
date = 1979-05-27 07:32:00
empty = ""
inf = +inf
inline = { a.b = 26, c = [26, { d = 26 }], s = '{' }
[table]
x = 28
  [ table . "sub.table" ] # comment
  x = 30
[[tables]]
x = 32
[tables.of]
x = 34
[[tables.of.more]]
x = 36
[[tables.of.more]]
x = 38
[[tables]]
x = 40
[tables.of]
x = 42
[[tables.of.more]]
x=44
[[ "tables" ]]
'''


def numbers(value, place=()):
    """(place, value) of each integer of a document."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from numbers(item, (*place, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from numbers(item, (*place, index))
    elif isinstance(value, int):
        yield place, value


def check(text):
    document = tomllib.loads(text)
    lines = find_lines(text, document)
    expected = dict(numbers(document))
    assert {place: lines.get(place) for place in expected} == expected
    return lines, expected


def test_keys_of_every_form():
    lines, expected = check(HARD)
    assert len(expected) > 25
    assert lines["tables", 1] == 39
    assert lines["tables", 2] == 45
    assert lines["tables", 0, "of", "more", 1] == 37
    assert lines["many",] == 7


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_ends_of_lines(end):
    text = HARD.replace("\n", end)
    lines = find_lines(text, tomllib.loads(text))
    assert lines["tables", 2] == 45


SNIPPETS = [
    "k{n} = {line}",
    'k{n} = "# {n}"',
    "\"k {n}\" = [\n\"]\", # ]\n'''\n[t]\nk = 1\n''', {{ a = {line+5} }}]",
    'k{n} = """\n[[t]]\n\\"""" # x',
    "# [t]\n# k = 1",
    "",
    "d.k{n} = {{ a.b = {line}, c = [ [], {line} ] }}",
    "[t{n}]\nk.x = {line+1}",
    "[[list]]\nk.a = {line+1}\n[list.k.b]\nc = {line+3}",
    "[[u.list]]\n[[u.list.deep]]\nk = {line+2}",
]


@given(st.lists(st.sampled_from(range(len(SNIPPETS))), max_size=12))
def test_any_order_of_forms(order):
    text, line = "", 1
    for n, index in enumerate(sorted(order, key=lambda i: i >= 7)):  # tables come last
        snippet = SNIPPETS[index].replace("{n}", str(n))
        for offset in range(6):
            name = f"line+{offset}" if offset else "line"
            snippet = snippet.replace(f"{{{name}}}", str(line + offset))
        text += snippet.replace("{{", "{").replace("}}", "}") + "\n"
        line = text.count("\n") + 1
    check(text)


def test_what_it_does_not_understand_has_no_lines():
    assert find_lines("a = [", {"a": []}) == {}
    assert find_lines("a = 1", {"b": 1}) == {}
    assert find_lines("[[a]]\n[[a]]", {"a": [{}]}) == {}
    assert find_lines("a = " + "[" * 100_000, {"a": []}) == {}
    assert find_lines("= 3", {}) == {}


def test_deep_keys_have_no_lines():
    text = "a" + ".a" * 1000 + " = 1"
    assert find_lines(text, tomllib.loads(text)) == {}
