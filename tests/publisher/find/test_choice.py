"""From what was found to what is published: numbers, names, twins."""

import pytest

from publisher.find.choice import LONGEST_NAME, numbers, providers, rows, sleeping
from publisher.find.found import Found

OLLAMA = Found("ollama", "Ollama", "http://o", ("qwen3:8b", "a"), native=True)
VLLM = Found("vllm", "vLLM", "http://v", ("a",))


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("1", [0]), ("1,3", [0, 2]), ("2-4", [1, 2, 3]), (" 3 1 3 ", [2, 0]), ("all", [0, 1, 2, 3]),
        ("1-2,2-3", [0, 1, 2]),
    ],
)
def test_rows_are_chosen_by_number(said, meant):
    assert numbers(said, 4) == meant


@pytest.mark.parametrize("said", ["", "0", "5", "3-1", "x", "1;2", "-1", "1-", "9" * 4000])
def test_what_is_no_row_is_refused_with_an_example(said):
    with pytest.raises(ValueError, match='from 1 to 4, such as 1 or 1,4, or "all"'):
        numbers(said, 4)


def test_twins_are_told_apart_by_their_type():
    made = providers(rows([OLLAMA, VLLM, Found("vllm", "vLLM", "http://w", ("a",))]))
    assert [one.name for one in made] == ["qwen3:8b", "a", "a@vllm", "a@vllm-2"]
    assert [one.model for one in made] == ["qwen3:8b", "a", "a", "a"]


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (r"C:\models\Qwen3-Q4.gguf", "Qwen3-Q4"), ("../m/Qwen3.gguf", "Qwen3"), ("org/qwen", "org/qwen"),
        ("_x\n", "x"), ("é" * 200, "é" * LONGEST_NAME), ("\x07", "llamacpp"), ("a{model}", "amodel"),
    ],
)
def test_a_models_name_becomes_one_that_a_broker_takes(model, name):
    (made,) = providers([(Found("llamacpp", "", "http://x"), model)])
    assert (made.name, made.model) == (name, model)


def test_ollamas_latest_goes_without_saying():
    made = providers([(OLLAMA, "a:latest"), (OLLAMA, "b:8b"), (VLLM, "c:latest")])
    assert [one.name for one in made] == ["a", "b:8b", "c:latest"]


def test_long_twins_stay_short_enough():
    made = providers(rows([Found("vllm", "", f"http://{n}", ("x" * 300,)) for n in "abc"]))
    assert len({one.name for one in made}) == 3 and all(len(one.name) <= LONGEST_NAME for one in made)


def test_what_wants_a_key_or_would_be_read_as_a_pattern_is_not_offered():
    assert rows([Found("vllm", "", "http://x", ("a*", "b[c]", "d")), Found("vllm", "", "http://y", ("e",), True)]) == [
        (Found("vllm", "", "http://x", ("a*", "b[c]", "d")), "d")
    ]


def test_sleeping_takes_the_servers_own_way():
    (one,) = providers([(OLLAMA, "a")])
    tired = sleeping(one, 60)
    assert tired.wake.native and tired.sleep.native and tired.idle_s == 60
