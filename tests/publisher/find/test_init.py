"""``publisher init``: with flags, with --yes, and asked at a terminal; the file is what ``run`` reads."""

import asyncio
import os
import stat
import shlex
import sys

import pytest

from publisher.config.file import read_config
from scripts.ports import free_port
from tests.publisher.find.little import BROKER, Little
from tests.publisher.find.running import Typing, environment, ran, verb
from tests.support.engines import LlamaCpp, LMStudio, Ollama, VLLM

NOWHERE = "http://127.0.0.1:1"
HEARTBEAT = "/api/v1/llms/_provider-heartbeat"
OPEN = {**BROKER, HEARTBEAT: (404, {"error": {"code": "unknown_session"}})}
LOCKED = {**BROKER, HEARTBEAT: (401, {"error": {"code": "invalid_token"}})}
posix = pytest.mark.skipif(sys.platform == "win32", reason="a pty is POSIX")


def init(home, *args: object, ports: tuple[int, ...] = (), **env: str):
    command = verb("init", *args)
    command[2] = f"import publisher.find.addresses as a; a.PORTS = {ports or (free_port(),)!r}\n" + command[2]
    return command, environment(home, **env)


async def run_init(home, *args: object, **more):
    command, env = init(home, *args, **more)
    return await ran(*command, env=env)


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_flags_make_a_file_that_run_reads(tmp_path):
    async with Little(OPEN) as broker:
        done = await run_init(
            tmp_path, "--broker", broker.url, "--token", "hush", "--type", "ollama", "--url", NOWHERE,
            "--model", "qwen3:8b", "--name", "qwen", "--idle-seconds", "600",
        )
    path = tmp_path / "config" / "reveille" / "publisher.yaml"
    assert (done.code, done.out) == (0, "") and f"Wrote {path}: qwen at {broker.url}." in done.err
    for told in ("publisher check", "publisher run", "publisher service install"):
        assert told in done.err
    config = read_config(path)
    assert [(one.url, one.token) for one in config.brokers] == [(broker.url, "hush")]
    (one,) = config.providers
    assert (one.name, one.type, one.url, one.model) == ("qwen", "ollama", NOWHERE, "qwen3:8b")
    assert one.wake.native and one.sleep.native and one.idle_s == 600
    assert "hush" not in path.read_text() and "hush" not in done.err
    if sys.platform != "win32":
        assert mode(path) == mode(path.with_name("publisher.token")) == 0o600 and mode(path.parent) == 0o700
    assert sorted(file.name for file in path.parent.iterdir()) == ["publisher.token", "publisher.yaml"]


async def test_repeated_flags_are_entries_in_their_order(tmp_path):
    done = await run_init(
        tmp_path, "--config", tmp_path / "p.yaml", "--broker", NOWHERE, "--type", "ollama",
        "--model", "a", "--model", "b", "--name", "x", "--name", "y",
    )
    assert done.code == 0 and "warning: http://127.0.0.1:1 does not answer" in done.err
    assert f"publisher run --config {tmp_path / 'p.yaml'}" in done.err
    assert [(p.name, p.model, p.url) for p in read_config(tmp_path / "p.yaml").providers] == [
        ("x", "a", "http://127.0.0.1:11434"), ("y", "b", "http://127.0.0.1:11434"),
    ]


async def test_the_commands_to_go_on_with_can_be_pasted_whatever_the_path(tmp_path):
    path = tmp_path / "my file's.yaml"
    done = await run_init(tmp_path, "--config", path, "--broker", NOWHERE, "--type", "ollama", "--model", "a")
    line = next(line for line in done.err.splitlines() if "publisher run" in line)
    if sys.platform != "win32":
        assert shlex.split(line)[:4] == ["publisher", "run", "--config", str(path)]


async def test_an_address_alone_publishes_all_that_it_tells(tmp_path):
    async with VLLM(["a", "b"]) as there:
        path = tmp_path / "p.yaml"
        done = await run_init(tmp_path, "--config", path, "--broker", NOWHERE, "--url", there.url + "/v1")
        assert done.code == 0
        assert [(p.name, p.type, p.url) for p in read_config(tmp_path / "p.yaml").providers] == [
            ("a", "vllm", there.url), ("b", "vllm", there.url),
        ]


async def test_the_key_of_a_server_stays_in_its_own_file(tmp_path):
    (tmp_path / "key").write_text("hush\n")
    async with VLLM(["a"], api_key="hush") as there:
        done = await run_init(tmp_path, "--config", tmp_path / "p.yaml", "--broker", NOWHERE, "--url", there.url,
                              "--api-key-file", tmp_path / "key")
    assert done.code == 0 and "hush" not in (tmp_path / "p.yaml").read_text()
    assert read_config(tmp_path / "p.yaml").providers[0].api_key == "hush"


async def test_yes_publishes_what_is_found_at_the_broker_that_is_found(tmp_path):
    async with Ollama(["a"]) as one, LlamaCpp(["b"]) as two, VLLM(["c"], api_key="k") as locked, Little(OPEN) as broker:
        ports = (one.port, two.port, locked.port, broker.port)
        done = await run_init(tmp_path, "--yes", "--idle-seconds", "60", ports=ports)
        assert done.code == 0, done.err
        assert f"{locked.url} wants a key and is left out" in done.err
        assert '"b" stays loaded: its server has no way of its own to unload it' in done.err
        config = read_config(tmp_path / "config" / "reveille" / "publisher.yaml")
        assert [address.url for address in config.brokers] == [broker.url]
        assert [(p.name, p.idle_s) for p in config.providers] == [("a", 60), ("b", None)]


async def test_a_server_without_models_is_said_to_be_one(tmp_path):
    async with VLLM(["c"], api_key="k") as locked:
        done = await run_init(tmp_path, "--yes", "--broker", NOWHERE, ports=(locked.port,))
        assert done.code == 1 and done.err.splitlines()[-1].endswith("name one with --url and --model")


async def test_a_token_file_is_named_and_not_copied(tmp_path):
    (tmp_path / "mine").write_text(" hush \n")
    async with Little(LOCKED) as broker:
        done = await run_init(tmp_path, "--config", tmp_path / "p.yaml", "--type", "ollama", "--model", "m",
                              BROKER_URL=broker.url, BROKER_TOKEN_FILE=str(tmp_path / "mine"))
        assert done.code == 0 and "does not know this token" in done.err
        assert broker.seen[-1][2]["Authorization"] == "Bearer hush"
    assert read_config(tmp_path / "p.yaml").brokers[0].token == "hush"
    assert not (tmp_path / "p.token").exists()


async def test_a_token_s_file_is_read_as_a_run_reads_it(tmp_path):
    (tmp_path / "mine").write_bytes(b"\xef\xbb\xbfhush\r\n")  # as some editors save it
    async with Little(OPEN) as broker:
        done = await run_init(tmp_path, "--config", tmp_path / "p.yaml", "--broker", broker.url, "--type", "ollama",
                              "--model", "m", "--token-file", tmp_path / "mine")
        assert done.code == 0 and broker.seen[-1][2]["Authorization"] == "Bearer hush"
    (tmp_path / "mine").write_text("two\nlines")
    done = await run_init(tmp_path, "--config", tmp_path / "q.yaml", "--broker", NOWHERE, "--type", "ollama", "--model", "m",
                          "--token-file", tmp_path / "mine")
    assert done.code == 2 and "must hold one line" in done.err and not (tmp_path / "q.yaml").exists()


async def test_a_flag_comes_before_the_environment(tmp_path):
    (tmp_path / "mine").write_text("from-file")
    done = await run_init(tmp_path, "--config", tmp_path / "p.yaml", "--broker", NOWHERE, "--type", "ollama",
                          "--model", "m", "--token", "from-flag", BROKER_TOKEN_FILE=str(tmp_path / "mine"))
    assert done.code == 0 and read_config(tmp_path / "p.yaml").brokers[0].token == "from-flag"


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--yes"], 1, "nothing to publish: no LLM server was found"),
        (["--yes", "--broker", "b"], 2, "b: must be an address"),
        (["--yes", "--broker", "http://me:hush@b"], 2, "http://b: must hold no user and no password"),
        (["--model", "m", "--broker", NOWHERE], 2, "--model needs --url or --type"),
        (["--name", "m", "--url", "http://x", "--broker", NOWHERE], 2, "--name needs --model"),
        (["--type", "openai", "--model", "m", "--broker", NOWHERE], 2, "--type openai needs --url"),
        (["--type", "ollama", "--model", "a*", "--broker", NOWHERE], 2, "patterns are for the config file"),
        ("--type ollama --type vllm --model a --model b --model c".split(), 2, "--type is given 2 times for 3"),
        (["--type", "ollama", "--model", "a", "--model", "b", "--name", "x"], 2, "--name is given 1 times for 2"),
        (["--type", "ollama", "--model", "a"], 2, "no broker: give --broker or BROKER_URL"),
        (["--url", NOWHERE, "--broker", NOWHERE], 2, "tells no models now"),
        (["--url", "nowhere", "--model", "a", "--broker", NOWHERE], 2, "nowhere: must be an address"),
        (["--token", "a", "--token-file", "b"], 2, "--token and --token-file: give one of them"),
        (["--token-file", "/no/such"], 2, "/no/such cannot be read"),
        (["--api-key-file", "/no/such"], 2, "--api-key-file belongs to"),
        (["--type", "ollama", "--model", "a", "--name", "_x", "--broker", NOWHERE], 2, "name"),
        (["--type", "ollama", *"--model a --model b --name x --name x".split(), "--broker", NOWHERE], 2, '"x"'),
    ],
)
async def test_what_cannot_be_done_is_one_line_and_leaves_nothing(tmp_path, args, code, said):
    if "--yes" in args and "--broker" not in args:
        args = [*args, "--broker", NOWHERE]
    done = await run_init(tmp_path, *args)
    last = done.err.splitlines()[-1]
    assert done.code == code and last.startswith("publisher: ") and said in last, done.err
    folder = tmp_path / "config" / "reveille"
    assert not folder.exists() or not list(folder.iterdir())


async def test_a_file_that_is_there_is_replaced_only_by_force(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("mine")
    args = ("--config", path, "--broker", NOWHERE, "--type", "ollama", "--model", "m", "--token", "new")
    done = await run_init(tmp_path, *args)
    assert done.code == 2 and "is there already" in done.err and path.read_text() == "mine"
    (tmp_path / "p.token").write_text("old")
    assert (await run_init(tmp_path, *args, "--force")).code == 0
    assert read_config(path).brokers[0].token == "new"


async def test_a_token_file_of_another_is_not_replaced(tmp_path):
    (tmp_path / "p.token").write_text("old")
    done = await run_init(tmp_path, "--config", tmp_path / "p.yaml", "--broker", NOWHERE, "--type", "ollama",
                          "--model", "m", "--token", "new")
    assert done.code == 2 and "p.token is there already" in done.err
    assert (tmp_path / "p.token").read_text() == "old" and not (tmp_path / "p.yaml").exists()


async def test_a_file_that_could_not_be_read_back_leaves_the_old_secret(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("mine")
    (tmp_path / "p.token").write_text("old")
    done = await run_init(tmp_path, "--config", path, "--force", "--broker", NOWHERE, "--type", "ollama",
                          "--model", "m", "--name", "_x", "--token", "new")
    assert done.code == 2 and "publisher: p.yaml:" in done.err and ".p-" not in done.err
    assert (path.read_text(), (tmp_path / "p.token").read_text()) == ("mine", "old")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["p.token", "p.yaml"]


async def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    done = await run_init(tmp_path, "--config", tmp_path / "file" / "p.yaml", "--broker", NOWHERE,
                          "--type", "ollama", "--model", "m")
    assert done.code == 2 and "cannot be written" in done.err and "Traceback" not in done.err


@posix
async def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real.yaml").write_text("mine")
    os.symlink(tmp_path / "real.yaml", tmp_path / "p.yaml")
    done = await run_init(tmp_path, "--config", tmp_path / "p.yaml", "--force", "--broker", NOWHERE,
                          "--type", "ollama", "--model", "m")
    assert done.code == 0 and (tmp_path / "p.yaml").is_symlink()
    assert read_config(tmp_path / "real.yaml").providers[0].name == "m"


@posix
async def test_at_a_terminal_it_asks_for_everything(tmp_path):
    async with Ollama(["a", "b"]) as one, VLLM(["c"], api_key="hush-key") as two, Little(LOCKED) as broker:
        command, env = init(tmp_path, ports=(one.port, two.port, broker.port))
        async with Typing(*command, env=env) as screen:
            await screen.until("wants a key")
            await screen.answer(f"Broker address [{broker.url}]: ")
            await screen.until("wants a token")
            broker.pages[HEARTBEAT] = (404, {"error": {"code": "unknown_session"}})
            await screen.answer("Token (not shown; empty: later)", "hush-token")
            await screen.until("is a Reveille broker.")
            await screen.answer("Key of vLLM", "wrong")
            await screen.until("That key was refused.")
            await screen.answer("Key of vLLM", "hush-key")
            await screen.until("b:latest")
            await screen.answer("Which?", "9")
            await screen.until("write numbers from 1 to 3")
            await screen.answer("Which?", "1,3")
            await screen.answer("May idle models be unloaded", "y")
            await screen.answer("After how many idle minutes?", "soon")
            await screen.answer("After how many idle minutes?", "10")
            await screen.until("publisher service install")
            assert await screen.ended() == 0, screen.shown
        assert "hush" not in screen.shown
        config = read_config(tmp_path / "config" / "reveille" / "publisher.yaml")
        assert config.brokers[0].token == "hush-token"
        published = [(p.name, p.idle_s, p.api_key) for p in config.providers]
        assert published == [("a", 600, None), ("c", 600, "hush-key")]
        assert broker.seen[-1][2]["Authorization"] == "Bearer hush-token"


@posix
async def test_with_flags_or_yes_nothing_is_asked_at_a_terminal_either(tmp_path):
    async with Ollama(["a"]) as one, Little(LOCKED) as broker:
        for extra in (["--yes"], ["--url", one.url]):
            command, env = init(tmp_path, "--broker", broker.url, "--force", *extra, ports=(one.port,))
            async with Typing(*command, env=env) as screen:
                await screen.until("warning: ")
                await screen.until("publisher service install")
                assert await screen.ended() == 0


@posix
async def test_at_a_terminal_a_wrong_broker_and_a_server_far_away_are_talked_over(tmp_path):
    async with LMStudio(["far"]) as far:
        command, env = init(tmp_path)
        async with Typing(*command, env=env) as screen:
            await screen.answer("Broker address", "nowhere")
            await screen.until("must be an address")
            await screen.answer("Broker address", NOWHERE)
            await screen.answer("Use it all the same? [y/N]", "n")
            await screen.answer("Broker address", NOWHERE)
            await screen.answer("Use it all the same? [y/N]", "y")
            await screen.answer("Address of an LLM server", far.url)
            await screen.until("publisher service install")
            assert await screen.ended() == 0
        config = read_config(tmp_path / "config" / "reveille" / "publisher.yaml")
        assert [(p.name, p.type, p.url) for p in config.providers] == [("far", "lmstudio", far.url)]


@posix
async def test_ctrl_c_at_a_question_leaves_nothing(tmp_path):
    async with Ollama(["a"]) as one:
        command, env = init(tmp_path, ports=(one.port,))
        async with Typing(*command, env=env) as screen:
            await screen.until("Broker address")
            assert await screen.interrupted() == 1
            assert "Traceback" not in screen.shown
        assert not (tmp_path / "config").exists()


async def test_two_at_once_leave_one_whole_file(tmp_path):
    args = ("--config", tmp_path / "p.yaml", "--broker", NOWHERE, "--type", "ollama", "--model", "m", "--force")
    assert [done.code for done in await asyncio.gather(run_init(tmp_path, *args), run_init(tmp_path, *args))] == [0, 0]
    assert [file.name for file in tmp_path.iterdir()] == ["p.yaml"] and read_config(tmp_path / "p.yaml").providers
