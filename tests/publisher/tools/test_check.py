"""What ``publisher check`` says of tool servers. It starts none."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from publisher.check import tool_server
from publisher.check.config_file import check_config_file
from publisher.check.tool_server import check_tool_server
from publisher.config.file import read_config_and_files
from publisher.config.values import ToolServer
from tests.publisher.check.looking import short

FILES = ToolServer("files", command=sys.executable)


async def of(tool: ToolServer, offline: bool = False) -> list[str]:
    return short(await check_tool_server(tool, offline))


async def test_one_whose_program_is_there_is_well():
    assert await of(FILES) == ["ok: what it needs is there"]


async def test_a_program_or_folder_that_is_not_there_is_an_error():
    assert (await of(replace(FILES, command="/no/such")))[0].startswith("error: there is no program /no/such")
    assert await of(replace(FILES, directory="/no/such")) == [
        "error: its directory /no/such does not exist | create it, or correct the config"
    ]


async def test_a_host_that_does_not_resolve_is_an_error_unless_nobody_asked():
    there = ToolServer("files", url="http://no-such-host.invalid/mcp")
    assert await of(there) == ["error: the name no-such-host.invalid does not resolve | correct its url"]
    assert await of(there, offline=True) == ["ok: what it needs is there"]


async def test_without_the_sdk_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(tool_server, "sdk_is_here", lambda: False)
    assert await of(FILES) == [
        "error: tools need the MCP SDK, which is not here: it would not be published | pip install 'reveille[agents]'"
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="its permissions are not in the mode")
def test_a_secret_of_a_tool_server_makes_the_file_one_with_secrets(tmp_path):
    path = tmp_path / "publisher.yaml"
    path.write_text("broker: http://b\ntools:\n- {name: t, publish: true, command: x, env: {SEARCH_KEY: hidden}}\n")
    path.chmod(0o644)
    assert short(check_config_file(path, *read_config_and_files(path))) == [
        "ok: 1 entry is published", f"warning: it holds secrets, and other users may read it | chmod 600 {path}",
    ]
