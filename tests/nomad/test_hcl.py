"""HCL 1 and JSON as trees that know their lines."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swimnomad.errors import ConfigError
from swimnomad.nomad.hcl import DEPTH_MAX, Leaf, Object, parse, plain


def test_blocks_assignments_and_labels_become_objects() -> None:
    text = """
    name = "s1"  region = "global" # two on a line
    server { enabled = true, retry_join = ["a", "b",] }
    plugin "docker" { config { port = 0x10 } }
    plugin "exec" {}
    """
    assert plain(parse(text)) == {
        "name": "s1",
        "region": "global",
        "server": {"enabled": True, "retry_join": ["a", "b"]},
        "plugin": [{"docker": {"config": {"port": 16}}}, {"exec": {}}],
    }


def test_keys_may_be_quoted() -> None:
    assert plain(parse('headers { "X-Foo" = "bar" }')) == {"headers": {"X-Foo": "bar"}}


def test_all_three_kinds_of_comments_are_skipped() -> None:
    assert plain(parse("# a\n// b\n/* c\nd */ x = 1")) == {"x": 1}


def test_numbers_keep_their_kind() -> None:
    assert plain(parse("a = -3\nb = 1.5\nc = 2e3\nd = 0x1F")) == {
        "a": -3,
        "b": 1.5,
        "c": 2000.0,
        "d": 31,
    }


def test_strings_take_escapes_and_keep_interpolations() -> None:
    text = r'a = "tab\there \"q\" \u00e9 \x41 \101"' + '\nb = "${env["HOME"]}/x"'
    assert plain(parse(text)) == {"a": 'tab\there "q" é A A', "b": '${env["HOME"]}/x'}


def test_here_documents_lose_their_indentation_only_when_asked() -> None:
    assert plain(parse("a = <<EOF\n  x\nEOF\nb = <<-EOF\n  x\n    y\n  EOF\n")) == {
        "a": "  x\n",
        "b": "x\n  y\n",
    }


def test_json_is_known_by_its_first_character() -> None:
    assert plain(parse('\n {"a": [1, null, {"b": "\\u00e9\\/"}]}')) == {"a": [1, None, {"b": "é/"}]}


def test_every_value_knows_its_line() -> None:
    tree = parse('a = 1\n\nserver {\n  b = "x"\n}')
    server = tree.entries[1]
    assert (tree.entries[0].line, server.line) == (1, 3)
    assert isinstance(server.value, Object)
    assert server.value.entries[0].value == Leaf(4, "x")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("server {\n  x = 1\n", "At 3:1: object expected closing RBRACE got: EOF"),
        ("a = \n", "At 2:1: Unknown token: EOF"),
        ("a = b", "At 1:5: Unknown token: b"),
        ("a b = 1", "At 1:5: key 'a b' expected start of object ('{') or assignment ('=')"),
        ("a = 5s", "At 1:7: key 's' expected start of object ('{') or assignment ('=')"),
        ("= 5", "At 1:1: expected: IDENT | STRING got: ASSIGN"),
        ("a = [1 2]", "At 1:8: error parsing list, expected comma or list end, got: 2"),
        ('a = "x\n"', "At 1:5: literal not terminated"),
        ('"', "At 1:1: literal not terminated"),
        (r'"\q" = 1', r"At 1:1: illegal char escape \q"),
        (r'a = "\U00110000"', "At 1:5: escape sequence is invalid Unicode code point"),
        ("a = <<E\n", "At 1:5: heredoc not terminated"),
        ("a = ?", "At 1:5: illegal character"),
        ("a = null", "At 1:5: Unknown token: null"),
        ('{"a" 1}', "At 1:6: Expecting ':' delimiter"),
        ('{"a": NaN}', "At 1:7: Unknown token: NaN"),
        ("a = " + "1" * 41, "At 1:5: Unknown token: " + "1" * 41),
        ("a = " + "[" * 40, "At 1:37: more than 32 objects and lists within each other"),
    ],
)
def test_errors_name_line_and_column(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert str(caught.value) == problem


@pytest.mark.parametrize("text", ['{"a":' * 3000, '{"a": ' + "9" * 5000 + "}", '{"a": -Infinity}'])
def test_extreme_json_is_refused_in_good_order(text: str) -> None:
    with pytest.raises(ConfigError):
        parse(text)


@settings(deadline=None)
@given(st.text(alphabet='ab{}[]=,:"\\\n $<-#/*.0e1x', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ConfigError):
        assert isinstance(plain(parse(text)), dict)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=4))
def test_json_is_read_as_any_json_reader_does(value: dict[str, object]) -> None:
    assert plain(parse(json.dumps(value))) == value
    assert DEPTH_MAX > 8
