"""The client's words are the API's: its kinds, their fields, their paths. It knows nothing of the server's inside."""

from __future__ import annotations

import msgspec
import pytest

from broker.cli.columns import COLUMNS, age
from broker.cli.kinds import DOCUMENTS, KINDS, PLURAL
from broker.http.agents import PublicAgent
from broker.http.personalities import PersonalityEdit
from broker.http.projects import ProjectEdit
from broker.http.prompts import PromptEdit
from broker.http.public_llms import PublicLLM
from broker.http.routes import ROUTES
from tests.unit.test_architecture import ROOT, imports

WRITTEN = {
    "agents": PublicAgent, "llms": PublicLLM, "personalities": PersonalityEdit, "projects": ProjectEdit, "prompts": PromptEdit,
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


def test_an_age_is_one_number_and_its_unit():
    from datetime import UTC, datetime, timedelta

    now = datetime.now(UTC)
    shown = [age((now - timedelta(seconds=s)).isoformat()) for s in (-5, 1, 119, 121, 7100, 7300, 172_700, 172_900)]
    assert shown == ["0s", "1s", "119s", "2m", "118m", "2h", "47h", "2d"] and age(None) == ""
