"""One entry for many models: patterns, templates, and what makes no sense with them."""

import pytest

from publisher.config.values import Pattern
from tests.publisher.config.writing import PROVIDER, complaint, read

MANY = {"publish": True, "url": "http://127.0.0.1:8000/v1"}


def many(folder, **fields):
    return read(folder, {"providers": [MANY | fields]}).providers[0]


@pytest.mark.parametrize("model", ["*", "qwen*", "qwen3:?b", "[ab]*"])
def test_a_model_with_a_sign_is_a_pattern(tmp_path, model):
    told = many(tmp_path, model=model)
    assert (told.name, told.model, told.patterns) == ("{model}", "", (Pattern(model),))


def test_a_model_without_a_sign_is_just_that(tmp_path):
    told = many(tmp_path, name="a", model="qwen3:8b")
    assert (told.model, told.patterns) == ("qwen3:8b", ())


def test_several_patterns_each_with_its_own_words(tmp_path):
    told = many(tmp_path, name="lab/{model}", aliases=["{model}-lab"], models=[
        "qwen*", "!*embed*",
        {"match": "llama3:8b", "name": "llama", "aliases": ["l"], "description": "d", "tier": "fast", "slots": 2},
        {"match": "*:70b", "name": "big/{model}", "aliases": []},
    ])
    assert told.name == "lab/{model}" and told.aliases == ("{model}-lab",)
    assert told.patterns == (
        Pattern("qwen*"), Pattern("!*embed*"), Pattern("llama3:8b", "llama", ("l",), "d", "fast", 2),
        Pattern("*:70b", "big/{model}", ()),
    )


def test_two_servers_may_publish_all_they_have_by_the_same_template(tmp_path):
    config = read(tmp_path, {"providers": [MANY | {"model": "*"}, MANY | {"model": "*", "url": "http://x/v1"}]})
    assert [p.name for p in config.providers] == ["{model}", "{model}"]


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"model": "*", "name": "all"}, '("all"): name: must hold {model}: several models would be published by one name'),
        ({"model": "*", "aliases": ["x"]}, "aliases[0]: must hold {model}: several models would be published by one name"),
        ({"models": [{"match": "*", "name": "x"}]},
         "models[0].name: must hold {model}: several models would be published by one name"),
        ({"models": [{"match": "*", "aliases": ["{model}", "x"]}]},
         "models[0].aliases[1]: must hold {model}: several models would be published by one name"),
        ({"name": "x-{model}", "model": "qwen3"},
         '("x-{model}"): name: holds {model}, which only a pattern in model or models can fill'),
        ({"name": "x", "aliases": ["{model}"]},
         '("x"): aliases[0]: holds {model}, which only a pattern in model or models can fill'),
        ({"model": "*", "models": ["a"]}, "models: stands beside model: only one of them can count"),
        ({"models": ["!a", "!b*"]}, 'models: takes models out and none in: add "*" or a name'),
        ({"models": ["*", "!"]}, "models[1]: names no model after the !"),
        ({"models": ["*", {"match": "!a", "slots": 2}]},
         "models[1]: takes models out with its !, so nothing else can be said of them"),
        ({"models": []}, "models: must hold at least one pattern"),
        ({"models": "*"}, "models: must be a list [ … ]"),
        ({"models": [""]}, "models[0]: must not be empty"),
        ({"models": ["*", 5]}, "models[1]: must be text, in quotes or an object { … }"),
        ({"models": [{"name": "{model}"}]}, "models[0].match: is missing"),
        ({"models": [{"match": "*", "slot": 2}]}, 'models[0].slot: is not a known field; did you mean "slots"?'),
        ({"model": "*", "wake": {"type": "process", "command": "x"}},
         "wake: one process cannot serve a pattern of models: use wake native if the server can do that, or one provider "
         "for each model"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, fields, said):
    gap = " " if said.startswith("(") else ": "
    assert complaint(tmp_path, {"providers": [MANY | fields]}) == f"publisher.json:1: providers[0]{gap}{said}"


def test_a_native_recipe_wakes_patterns(tmp_path):
    assert many(tmp_path, type="ollama", model="*", wake={"type": "native"}, sleep={"type": "native"}).wake.native


def test_a_name_is_compared_with_aliases_of_others_only_where_it_is_known(tmp_path):
    config = read(tmp_path, {"providers": [PROVIDER | {"aliases": ["x"]}, MANY | {"models": [{"match": "y", "name": "x"}]}]})
    assert len(config.providers) == 2
