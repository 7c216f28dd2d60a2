"""The documents are true in what can be checked: every setting, route, option, error code, metric,
key family, script and config field stands in them, and every relative link leads somewhere.

A failure prints what to write. It checks that things are told, not how well.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from pathlib import Path
from typing import get_args

import click
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

import broker
import broker.http
from broker import errors, wire
from broker.__main__ import main as broker_command
from broker.http.routes import ROUTES
from broker.metrics import Metrics
from broker.relay.inbound import _STATUS
from broker.settings import Settings, variable
from broker.store import keys, scripts
from publisher import failures
from publisher.cli.main import publisher as publisher_command
from publisher.config.file import read_config
from publisher.config.recipe_schema import Sleep, Wake
from publisher.config.schema import AgentEntry, BrokerEntry, ConfigFile, HoursEntry, ModelEntry, ProviderEntry, ToolEntry
from scripts.racing.__main__ import main as sleep_race_command
from tests.publisher.config.shown import secret_files, shown_configs, variables

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
CODE = [*(ROOT / "broker").rglob("*.py"), *(ROOT / "publisher").rglob("*.py"), *(ROOT / "broker").rglob("*.lua")]


def page(name: str) -> str:
    return (DOCS / name).read_text()


def told(text: str, words: list[str]) -> None:
    """Each of the words stands in the text as code."""
    code = {word for span in re.findall(r"`([^`\n]+)`", text) for word in (span, *re.split(r"[\s,]+", span))}
    missing = [word for word in words if word not in code]
    assert not missing, f"not in the documents: {missing}"


def test_every_setting_is_told_with_its_default():
    rows = dict(re.findall(r"^\| `(\w+)` \| (?:`(.*?)`)? ?\|", page("operations.md"), re.MULTILINE))
    wanted = {variable(name): str(field.default) for name, field in Settings.model_fields.items()}
    wrong = [f"| `{name}` | `{default}` | … |" for name, default in wanted.items() if rows.get(name) != default]
    assert not wrong, "docs/operations.md, Settings:\n" + "\n".join(wrong)


def test_no_setting_is_told_that_does_not_exist():
    known = {variable(name) for name in Settings.model_fields} | {"BROKER_URL", "BROKER_TOKEN"}
    for path in PAGES:
        for name in re.findall(r"\bBROKER_[A-Z_]+\b", path.read_text()):
            assert name.removesuffix("_FILE") in known, f"{path.name} tells of {name}"


def test_every_route_is_told():
    text = page("api.md") + page("virtual-llms.md")
    paths = [(route.method, re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path)) for route in ROUTES]
    missing = [f"{method} {path}" for method, path in paths if f"`{method} {path}`" not in text]
    assert not missing, f"neither docs/api.md nor docs/virtual-llms.md tells of {missing}"


def codes() -> dict[str, int | None]:
    """Every error code with its status; None where the code's place does not say it."""
    for module in pkgutil.walk_packages(broker.http.__path__, "broker.http."):
        importlib.import_module(module.name)
    found: dict[str, int | None] = {kind.code: kind.status for kind in heirs(errors.Refusal)}
    found.update({kind.code: None for kind in heirs(failures.TaskFailed)} | {failures.TaskFailed.code: None})
    for path in CODE:
        found.update({code: int(status) for status, code in re.findall(r"failure\((\d+), ['\"](\w+)['\"]", path.read_text())})
    return found | _STATUS


def heirs(kind: type) -> list[type]:
    return [heir for child in kind.__subclasses__() for heir in (child, *heirs(child))]


def test_every_error_code_is_told_with_its_status():
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d+|as answered) \|", page("virtual-llms.md"), re.MULTILINE))
    # What only answers a broker's own sleep frame reaches no caller; a relayed refusal has its own code.
    inner = {failures.SleepFailed.code, errors.Relayed.code}
    wrong = [
        f"| `{code}` | {status or '…'} | when | what to do |"
        for code, status in sorted(codes().items())
        if code not in inner and (code not in rows or (status and rows[code] != str(status)))
    ]
    assert not wrong, "docs/virtual-llms.md, what a failure means:\n" + "\n".join(wrong)


def options(command: click.Command, name: str) -> list[tuple[str, str]]:
    if isinstance(command, click.Group):
        within = click.Context(command)  # verbs may be loaded one by one, when they are asked for
        verbs = [(verb, command.get_command(within, verb)) for verb in command.list_commands(within)]
        return [found for verb, child in verbs for found in options(child, f"{name} {verb}")]
    flags = [flag for parameter in command.params if isinstance(parameter, click.Option) for flag in parameter.opts]
    return [(name, flag) for flag in flags]


@pytest.mark.parametrize(
    ("command", "name", "where"),
    [
        (broker_command, "broker", "cli.md"),
        (publisher_command, "publisher", "publisher.md"),
        (sleep_race_command, "sleep-race", "architecture.md"),
    ],
)
def test_every_command_and_option_is_told(command, name, where):
    text = page(where)
    found = options(command, name)
    for verb in {verb for verb, _ in found}:
        assert verb in text, f"docs/{where} does not tell of `{verb}`"
    told(text, sorted({flag for _, flag in found}))


def test_every_program_in_scripts_is_told():
    programs = [path.name for path in (ROOT / "scripts").iterdir() if path.is_file() and path.read_text().startswith("#!")]
    assert {"run", "test", "bench"} <= set(programs)
    text = "\n".join(path.read_text() for path in PAGES)
    missing = [name for name in programs if not re.search(rf"scripts/{name}\b(?!-)", text)]
    assert not missing, f"no document tells of scripts/{missing}"


def test_every_metric_is_told():
    metrics = Metrics()
    families = text_string_to_metric_families(metrics.text(running=0, llms=[]).decode())
    names = {family.name for family in families if not family.name.endswith("_created")}
    text = page("operations.md")
    missing = [name for name in names if not re.search(rf"`{name}(_total)?(\{{[^`]*\}})?`", text)]
    assert not missing, f"docs/operations.md, Metrics: {missing}"


def test_every_family_of_keys_is_told():
    families: set[str] = set()
    for path in CODE:
        text = path.read_text()
        families.update(re.findall(r"\bP \.\. '([a-z-]+):?", text))
        families.update(re.findall(r"f\"\{(?:self\._)?prefix\}([a-z-]+)", text))
    assert {"llm", "session", "task", "timers", "llms"} <= families
    text = page("architecture.md")
    missing = [name for name in sorted(families) if not re.search(rf"`{name}(:<?\w+>?)?`", text)]
    assert not missing, f"docs/architecture.md, Keys: {missing}"
    told(text, [keys.token("<sha256>"), keys.tokens("<namespace>")])


def test_every_script_is_told():
    told(page("architecture.md"), scripts.names())


def test_every_field_of_the_wire_is_told():
    text = page("virtual-llms.md")
    kinds = (wire.Frame, wire.Chunk, wire.Result, wire.FrameAnswer, wire.ProviderEntry, wire.Registration, wire.AgentEntry, wire.ToolServerEntry)
    fields = {field.encode_name for kind in kinds for field in msgspec.structs.fields(kind)}
    missing = [name for name in sorted(fields) if not re.search(rf"\b{name}\b", text)]
    assert not missing, f"docs/virtual-llms.md does not tell of {missing}"
    for kind in ("infer", "wake", "sleep", "cancel", "shutdown", "superseded"):
        assert f'"kind":"{kind}"' in text


def fields_of(kind: type[msgspec.Struct], path: str = "") -> list[str]:
    return [f"{path}{field.encode_name}" for field in msgspec.structs.fields(kind)]


def test_every_field_of_the_config_file_is_told():
    text = page("publisher.md")
    entries = {"brokers": BrokerEntry, "providers": ProviderEntry, "agents": AgentEntry, "tools": ToolEntry}
    told(text, [name for name in fields_of(ConfigFile) if name not in entries])
    for name, kind in {**entries, "providers[].models": ModelEntry}.items():
        told(text, fields_of(kind, f"{name}[]."))
    told(text, fields_of(HoursEntry))


@pytest.mark.parametrize("kind", [*get_args(Wake), *get_args(Sleep)], ids=lambda kind: kind.__name__)
def test_every_kind_of_recipe_is_told_with_its_fields(kind):
    told(page("publisher.md"), ["type", kind.__struct_config__.tag, *fields_of(kind)])


@pytest.mark.parametrize(("name", "text"), shown_configs())
def test_the_config_files_that_are_shown_can_be_used(tmp_path, monkeypatch, name, text):
    for variable_name in variables(text):
        monkeypatch.setenv(variable_name, "secret")
    for file in secret_files(text):
        (tmp_path / file).write_text("secret\n")
    (tmp_path / name).write_text(text)
    config = read_config(tmp_path / name)
    assert config.providers or config.unpublished


def test_config_files_are_shown():
    assert len(shown_configs()) >= 2


def test_json_that_is_shown_is_json():
    for path in PAGES:
        for block in re.findall(r"^ *```json\n(.*?)^ *```", path.read_text(), re.DOTALL | re.MULTILINE):
            json.loads(block)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^ *```.*?^ *```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), f"{path.name}: {target}"
        assert found.is_relative_to(ROOT), f"{path.name}: {target} leaves the project"
        if anchor:
            assert anchor in anchors(found), f"{path.name}: {target}"


def test_every_decision_is_listed():
    text = page("architecture.md")
    for record in sorted((DOCS / "decisions").glob("*.md")):
        assert f"decisions/{record.name}" in text, record.name
