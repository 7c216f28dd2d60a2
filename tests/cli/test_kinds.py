"""The client's words are the API's: its kinds, their fields, their paths. It knows nothing of the server's inside."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.cli.columns import COLUMNS, age
from broker.cli.kinds import DOCUMENTS, KINDS, PLURAL, STATES
from broker.cli.membership import members
from broker.cli.submit import OPERATIONS, PRIORITIES
from broker.cli.task import ENDED
from broker.http import calls, tasks
from broker.http.agents import PublicAgent
from broker.http.personalities import PersonalityEdit
from broker.http.pools import EditedPool
from broker.http.projects import ProjectEdit
from broker.http.prompts import PromptEdit
from broker.http.public_llms import PublicLLM
from broker.http.routes import ROUTES
from broker.model import LLM
from broker.pool import Member, Pool
from broker.store import jobs
from tests.unit.test_architecture import ROOT, imports

WRITTEN = {
    "agents": PublicAgent, "llms": PublicLLM, "personalities": PersonalityEdit, "pools": EditedPool, "projects": ProjectEdit,
    "prompts": PromptEdit,
}
#: Of the prompt's fields scope follows from the others.
NOT_DECIDED = {"name", "version", "scope"}


@pytest.mark.parametrize("kind", DOCUMENTS.values(), ids=lambda kind: kind.plural)
def test_a_document_has_the_fields_that_the_api_takes(kind):
    taken = {field.encode_name for field in msgspec.structs.fields(WRITTEN[kind.plural])} - NOT_DECIDED
    assert {field.name for field in kind.fields} == taken


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_a_kind_is_where_the_api_has_it(kind):
    paths = {(route.method, route.path.split("/{")[0]) for route in ROUTES}
    assert ("GET", kind.path) in paths and COLUMNS[kind.plural]
    assert not kind.deletable or ("DELETE", kind.path) in paths
    assert not kind.document or ("POST", kind.path) in paths and ("PATCH", kind.path) in paths
    assert all(field.names in PLURAL for field in kind.fields if field.names)


def test_the_client_knows_nothing_of_the_server_and_the_server_nothing_of_the_client():
    for path in ROOT.glob("broker/**/*.py"):
        ours = path.parent.name == "cli"
        for module in imports(path):
            if ours and module.split(".")[0] == "broker":
                assert module.startswith("broker.cli"), f"{path}: {module}"
            if not ours and path.name != "__main__.py":
                assert not module.startswith("broker.cli"), f"{path}: {module}"


def test_a_tasks_words_are_the_apis():
    assert (STATES, ENDED) == (jobs.STATES, tuple(state for state in jobs.STATES if state in jobs.ENDED))
    assert OPERATIONS == tasks._OPERATIONS and set(PRIORITIES) == set(calls.PRIORITIES)


def test_what_a_pools_entry_need_not_say_is_what_the_api_leaves_out():
    (field,) = [field for field in DOCUMENTS["Pool"].fields if field.usual]
    assert dict(field.usual) == {each.name: each.default for each in msgspec.structs.fields(Member) if each.default not in (None, msgspec.NODEFAULT)}


NAMES = st.sampled_from(["a", "b", "ab", "a.b", "cloud-1", "cloud-x"])
LLMS = st.builds(dict, name=NAMES, model=st.sampled_from("mn"), tier=st.sampled_from(["fast", "heavy"]), kind=st.sampled_from(["public", "virtual"]))
SELECTORS = st.fixed_dictionaries({}, optional={
    "model": st.sampled_from("mn"), "tier": st.just("fast"), "kind": st.just("public"), "name": st.sampled_from(["*", "a*", "?", "a.b", "*-?", "*.*"]),
}).filter(bool)
ENTRIES = st.one_of(NAMES.map(lambda name: {"llm": name}), SELECTORS.map(lambda selector: {"selector": selector}))


@settings(max_examples=200, deadline=None)
@given(st.lists(ENTRIES, min_size=1, max_size=3), st.lists(LLMS, max_size=4, unique_by=lambda llm: llm["name"]))
def test_the_llms_of_a_pool_are_those_that_the_broker_asks(entries, llms):
    row = {"name": "p", "members": json.dumps(entries), "version": "1", "createdAt": "1", "updatedAt": "1"}
    pool, empty = Pool.read(row), {field.name: None for field in msgspec.structs.fields(LLM)}
    asked = {llm["name"] for llm in llms if pool.has(LLM(**{**empty, **llm}))}
    assert {llm["name"] for llm, _ in members({"members": entries}, llms)} == asked


def test_an_age_is_one_number_and_its_unit():
    from datetime import UTC, datetime, timedelta

    now = datetime.now(UTC)
    shown = [age((now - timedelta(seconds=s)).isoformat()) for s in (-5, 1, 119, 121, 7100, 7300, 172_700, 172_900)]
    assert shown == ["0s", "1s", "119s", "2m", "118m", "2h", "47h", "2d"] and age(None) == ""
