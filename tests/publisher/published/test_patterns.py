"""Patterns: which models they take, and as what those are published."""

import logging

from publisher.config.values import Pattern, Provider
from publisher.published.patterns import expand


def provider(*patterns: Pattern | str, name: str = "{model}", **more) -> Provider:
    made = tuple(Pattern(one) if isinstance(one, str) else one for one in patterns)
    return Provider(name=name, url="http://x", patterns=made, **more)


def names(found) -> list[str]:
    return [one.name for one in found]


def test_a_provider_without_patterns_is_itself():
    one = Provider(name="a", url="http://x", model="m")
    assert expand(one, ["m", "n"]) == [one]


def test_a_glob_takes_models_and_an_exclamation_mark_takes_some_out_again():
    listed = ["qwen3:8b", "qwen3-embed", "llama3", "Qwen"]
    assert names(expand(provider("qwen*"), listed)) == ["qwen3:8b", "qwen3-embed"]
    assert names(expand(provider("*", "!*embed*"), listed)) == ["qwen3:8b", "llama3", "Qwen"]
    assert names(expand(provider("!*embed*", "*"), listed)) == listed, "the later pattern wins"
    assert expand(provider("none*"), listed) == []


def test_each_model_is_published_under_the_template_with_its_own_model():
    found = expand(provider("*", name="lab/{model}", aliases=("{model}-x",)), ["a", "b"])
    assert names(found) == ["lab/a", "lab/b"] and [one.model for one in found] == ["a", "b"]
    assert found[0].aliases == ("a-x",) and found[0].patterns == ()


def test_a_pattern_s_own_words_come_before_the_provider_s():
    special = Pattern("a", name="special", aliases=("gpt-4o",), description="mine", tier="heavy", slots=3)
    found = expand(provider("*", special, description="all", slots=1), ["a", "b"])
    first, second = found
    assert (first.name, first.aliases, first.description, first.tier, first.slots) == ("special", ("gpt-4o",), "mine", "heavy", 3)
    assert (second.name, second.description, second.slots) == ("b", "all", 1)


def test_two_models_with_one_name_are_one_row_and_a_warning(caplog):
    with caplog.at_level(logging.WARNING, "publisher"):
        found = expand(provider(Pattern("*", name="same")), ["a", "b"])
    assert [one.model for one in found] == ["a"] and "only the first is published" in caplog.text


def test_a_model_whose_name_can_be_no_row_is_left_out_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING, "publisher"):
        assert names(expand(provider("*"), ["_x", "a" * 129, "a\nb", "good"])) == ["good"]
    assert caplog.text.count("cannot be published") == 3


def test_ollama_s_latest_is_left_out_of_the_name_and_is_an_alias():
    (one,) = expand(provider("*", name="lab/{model}", type="ollama"), ["qwen3:latest"])
    assert (one.name, one.model, one.aliases) == ("lab/qwen3", "qwen3:latest", ("lab/qwen3:latest",))
    (one,) = expand(provider(Pattern("*", name="own", aliases=("gpt-4o",)), type="ollama"), ["qwen3:latest"])
    assert (one.name, one.aliases) == ("own", ("gpt-4o",))
    (one,) = expand(provider("*"), ["x:latest"])
    assert (one.name, one.aliases) == ("x:latest", None)
