import copy

import pytest

from babelclip.errors import DataError, MissingExtraError, UnknownNameError
from babelclip.languages import language_name, normalise_tag
from babelclip.registry import Registry


def test_a_message_says_where_what_and_the_way_out():
    error = DataError("3 fields, but the header has 4", file="a.tsv", line=7, fix="Add one.")
    assert str(error) == "a.tsv:7: 3 fields, but the header has 4. Add one."


def test_an_unknown_name_is_answered_with_the_closest_and_all_known():
    registry = Registry("method", {"cll": 1, "teir": 2})
    assert list(registry) == ["cll", "teir"]
    with pytest.raises(UnknownNameError, match=r"unknown method 'tier'.*Did you mean 'teir'\? Known: cll, teir"):
        registry["tier"]


def test_the_closest_name_is_found_in_another_case():
    with pytest.raises(UnknownNameError, match=r"Did you mean 'RGB'\? Known: RGB, dim"):
        raise UnknownNameError("option", "rgb", ["dim", "RGB"])


def test_a_missing_extra_says_what_to_install():
    assert "pip install 'babelclip[demo]'" in str(MissingExtraError("emoji", "demo", "The demo"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [("de", "de"), ("PT_br", "pt-BR"), ("zh-hant-tw", "zh-Hant-TW"), ("quz", "quz"), (" es-419 ", "es-419")],
)
def test_tags_are_normalised(given, expected):
    assert normalise_tag(given) == expected


@pytest.mark.parametrize("bad", ["", "german language", "de-null-x-y", "d", "1234", "de--AT"])
def test_a_bad_tag_is_refused(bad):
    with pytest.raises(DataError, match="is not a language tag"):
        normalise_tag(bad)


def test_a_language_name_gets_a_hint():
    with pytest.raises(DataError, match="Did you mean 'sw'"):
        normalise_tag("Swahili")


def test_names_fall_back_to_the_language_and_then_to_the_tag():
    assert language_name("pt-BR") == "Portuguese"
    assert (language_name("qu"), language_name("mul")) == ("Quechua", "several languages")
    assert language_name("xx") == "xx"


@pytest.mark.parametrize(
    "error",
    [DataError("bad", fix="Mend it.", file="a.tsv", line=3), UnknownNameError("method", "cl", ["cll"]),
     MissingExtraError("jinja2", "report", "Writing")],
)  # fmt: skip
def test_an_error_of_another_process_arrives_whole(error):
    back = copy.copy(error)
    assert (type(back), str(back), back.__dict__) == (type(error), str(error), error.__dict__)


def test_what_cannot_be_printed_is_escaped():
    error = DataError(
        "the header has a\x01b, \u200b and \udc80\nand more", fix="Do \x1b[31mit.", file="a\x02.tsv", line=3
    )
    assert str(error) == "a\\x02.tsv:3: the header has a\\x01b, \\u200b and \\udc80\nand more. Do \\x1b[31mit."
    assert error.what.startswith("the header has a\\x01b")
    assert error.file == "a\x02.tsv"
    assert str(DataError("größer, 中文, فارسی", fix="So.")) == "größer, 中文, فارسی. So."
