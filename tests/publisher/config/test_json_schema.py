"""The JSON Schema for editors: it is the published one, tells every field, and agrees with the reader."""

import copy
import json

import pytest
from click.testing import CliRunner

from publisher.cli.schema import schema
from publisher.config import json_form, yaml_form
from publisher.config.file import read_config
from publisher.config.json_schema import json_schema, schema_text
from publisher.config.values import ConfigError
from tests.publisher.config.shown import ROOT, shown_configs
from tests.publisher.config.test_secrets import FULL, WRONG, changed, places
from tests.publisher.config.validator import faults
from tests.publisher.config.writing import PROVIDER, write

SCHEMA = json_schema()


def wrong(value: object) -> list[str]:
    return faults(value, SCHEMA, SCHEMA)


def test_the_published_schema_is_the_one_of_the_code():
    published = (ROOT / "docs" / "publisher.schema.json").read_text()
    assert published == schema_text(), "write it: python -m publisher.config.json_schema > docs/publisher.schema.json"


def test_the_command_prints_it():
    told = CliRunner().invoke(schema)
    assert told.exit_code == 0 and json.loads(told.stdout) == SCHEMA


def test_every_field_has_a_title_and_a_description():
    for name, shape in {"": SCHEMA, **SCHEMA["$defs"]}.items():
        assert shape["description"]
        for field, told in shape.get("properties", {}).items():
            assert told["title"] == field
            assert told.get("description") or field == "type" and "const" in told, f"{name}.{field}"


def test_defaults_are_told():
    recipe, provider = SCHEMA["$defs"]["CommandWake"]["properties"], SCHEMA["$defs"]["ProviderEntry"]["properties"]
    assert (recipe["maxWaitSeconds"]["default"], recipe["timeoutSeconds"]["default"]) == (60.0, 120.0)
    assert (provider["publish"]["default"], provider["type"]["default"]) == (False, "openai")
    assert "default" not in provider["slots"]  # left out is not null


@pytest.mark.parametrize(("name", "text"), shown_configs())
def test_every_config_that_the_documents_show_fits(name, text):
    assert wrong((yaml_form if name.endswith("yaml") else json_form).value(text)) == []


def test_a_full_file_fits_and_variables_may_stand_anywhere_but_in_kinds():
    assert wrong(FULL) == []
    for at in places(FULL):
        inner = FULL
        for part in at:
            inner = inner[part]
        if not isinstance(inner, dict | list) and at[-1] != "type" and "steps" not in at:
            assert wrong(changed(at, "${ANY}")) == [], at


def test_what_the_schema_refuses_the_reader_refuses_and_the_other_way_round(tmp_path):
    """Except for what a variable may bring, or is written like one, and for what one field forbids another."""
    between_fields = ("beside", "native works", "is for waking", "is for putting", "stops the process", "one process",
                      "has the same", "must hold {model}", "needs a", "that can be called", "takes models out",
                      "process cannot", "belongs into wake", "which only a pattern", "url: is missing", "name: is missing",
                      "holds a ${", "unloads the model at once", "no time zone", "is when it begins")
    for at in places(FULL):
        for value in WRONG if at else ():
            written = changed(at, value)
            try:
                read_config(write(tmp_path, written))
            except ConfigError as err:
                if not any(words in str(err) for words in between_fields):
                    assert wrong(written), f"{at} = {value!r} passes, but: {err}"
            else:
                assert wrong(written) == [], f"{at} = {value!r} is read"


def test_an_unknown_field_is_refused_at_every_level():
    for at in [(), ("providers", 0), ("providers", 0, "wake"), ("providers", 0, "wake", "steps", 0), ("agents", 0)]:
        file = copy.deepcopy(FULL)
        inner = file
        for part in at:
            inner = inner[part]
        inner["unheardOf"] = 1
        assert wrong(file), at


def test_a_file_may_name_its_schema():
    assert wrong({"$schema": "./publisher.schema.json", "providers": [PROVIDER]}) == []
