"""The verbs as processes of their own, beside a publisher's control socket."""

import asyncio
import contextlib
import json
import os
import signal
import sys

import pytest

from publisher.status import BrokerStatus
from tests.publisher.control.serving import Fake, begun, row, serving, verb
from tests.support.engines.ollama import Ollama
from tests.support.fake_broker import FakeBroker
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="unix sockets")


def busy_publisher(**more) -> Fake:
    return Fake(
        config="/etc/p.yaml",
        brokers=[
            BrokerStatus("https://b.example", "open", "ps_1", 65.0),
            BrokerStatus("https://c.example", "refused", None, 2.0, "token is wrong", 2.0),
        ],
        rows=[
            row("qwen", running=2, waiting=3, tokens_per_s=41.26, requests=12_345, failed=2),
            row("sleepy", state="hibernating", sleeps_in_s=None, last_error="no\x1b[31m GPU\n", last_error_ago_s=90.0),
            row("rising", state="waking", state_since_s=7.0),
        ],
        **more,
    )


async def test_status_shows_brokers_and_rows(home):
    async with serving(busy_publisher()):
        told = await verb("status")
    assert (told.code, told.err) == (0, "")
    lines = told.out.splitlines()
    assert lines[0] == "publisher 9.9  pid 4711  up 2h05m  50 MB  /etc/p.yaml"
    assert [line.split() for line in lines[2:5]] == [
        ["BROKER", "STATE", "FOR", "SESSION", "LAST", "ERROR"],
        ["https://b.example", "open", "1m05s", "ps_1"],
        ["https://c.example", "refused", "2.0s", "2.0s", "ago:", "token", "is", "wrong"],
    ]
    assert [line.split() for line in lines[6:]] == [
        ["NAME", "STATE", "SLOTS", "WAITING", "TOKENS/S", "SLEEPS", "IN", "REQUESTS", "LAST", "ERROR"],
        ["qwen", "active", "2/4", "3", "41.3", "-", "12.3k,", "2", "failed"],
        ["sleepy", "hibernating", "0/4", "-", "-", "-", "0", "1m30s", "ago:", "no\\x1b[31m", "GPU"],
        ["rising", "waking", "7.0s", "0/4", "-", "-", "-", "0"],
    ]


async def test_status_in_json_is_what_the_publisher_says(home):
    async with serving(busy_publisher()):
        told = await verb("status", "--json")
    status = json.loads(told.out)
    assert status["pid"] == 4711 and [row["name"] for row in status["rows"]] == ["qwen", "sleepy", "rising"]
    assert status["brokers"][1]["lastError"] == "token is wrong"


@pytest.mark.parametrize(
    "env, colours",
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False), ({"FORCE_COLOR": "0"}, False)],
)
async def test_colours_are_for_terminals_or_those_who_insist(home, env, colours):
    async with serving(busy_publisher(config_error="line 3: is not a known field")):
        told = await verb("status", **env)
    assert ("\x1b[" in told.out) is colours
    if colours:
        assert "\x1b[31mthe edited config is not used: line 3: is not a known field" in told.out


async def test_a_terminal_without_unicode_gets_everything_in_ascii(home):
    async with serving(Fake(rows=[row("käse-模型")])):
        told = await verb("status", PYTHONIOENCODING="ascii")
    assert told.code == 0 and "k\\xe4se-\\u6a21\\u578b" in told.out


@pytest.mark.parametrize("columns", [40, 80, 120])
async def test_on_a_terminal_no_line_with_an_error_is_broken(home, columns):
    import pty
    import termios

    long = "the server said no, " * 20
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, columns))
    async with serving(Fake(rows=[row("qwen", last_error=long, last_error_ago_s=5.0)])):
        env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}  # which would say it instead
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "publisher", "status", stdout=follower, env={**env, "NO_COLOR": "1", "TERM": "xterm"}
        )
        assert await process.wait() == 0
    os.close(follower)
    shown = os.read(leader, 10_000).decode()
    os.close(leader)
    [error] = [line for line in shown.splitlines() if "5.0s ago: the server" in line]
    assert len(error) <= columns and error.endswith("...") and "\x1b" not in shown


async def test_columns_stay_in_line_with_wide_characters(home):
    async with serving(Fake(rows=[row("模型"), row("abcd")])):
        told = await verb("status", PYTHONIOENCODING="utf-8")
    wide, narrow = told.out.splitlines()[-2:]
    assert wide.index("active") + 2 == narrow.index("active")


async def test_status_with_none_running_is_one_line_and_exit_code_1(home):
    told = await verb("status")
    assert (told.code, told.out) == (1, "")
    assert told.err == "publisher: no publisher runs here: start one with publisher run\n"


async def test_status_goes_on_until_the_publisher_ends(home):
    async with contextlib.AsyncExitStack() as stack:
        fake = Fake()
        await stack.enter_async_context(serving(fake))
        process = await begun("status", "--watch", "--json")
        async with asyncio.timeout(20):
            first, second = await process.stdout.readline(), await process.stdout.readline()
        assert json.loads(first)["pid"] == json.loads(second)["pid"] == 4711
        await stack.aclose()
        _, err = await process.communicate()
    assert process.returncode == 1 and b"the publisher has just ended" in err


async def test_an_interrupt_ends_watching_without_a_traceback(home):
    async with serving(Fake()):
        process = await begun("status", "--watch")
        await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == 130 and err == b""


async def test_wake_waits_until_it_is_awake(home):
    fake = Fake(rows=[row("qwen")])
    fake.may_wake.clear()
    async with serving(fake):
        waking = asyncio.create_task(verb("wake", "qwen"))
        await eventually(lambda: ("wake", "qwen") in fake.asked, 20)
        assert not waking.done()
        fake.may_wake.set()
        told = await waking
        assert (told.code, told.out, told.err) == (0, '"qwen" is awake after 12.3 s\n', "")
        assert json.loads((await verb("wake", "qwen", "--json")).out) == {"name": "qwen", "ms": 12300}


async def test_wake_shows_on_a_terminal_how_long_it_takes(home):
    import pty

    fake = Fake(rows=[row("qwen")])
    fake.may_wake.clear()
    leader, follower = pty.openpty()
    async with serving(fake):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "publisher", "wake", "qwen",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=follower,
        )
        os.close(follower)
        said = await asyncio.to_thread(os.read, leader, 1000)
        fake.may_wake.set()
        out, _ = await process.communicate()
    os.close(leader)
    assert said.startswith(b'\rwaking "qwen" ... ') and out == b'"qwen" is awake after 12.3 s\n'


async def test_a_refusal_is_one_line_and_exit_code_1(home):
    async with serving(Fake(rows=[row("qwen")], busy='"qwen" has 2 running requests')):
        for words, said in (
            (("wake", "nope"), '"nope" is not published here'),
            (("sleep", "qwen"), '"qwen" has 2 running requests'),
            (("reload",), '"qwen" has 2 running requests'),
        ):
            told = await verb(*words)
            assert (told.code, told.out, told.err) == (1, "", f"publisher: {said}\n")


async def test_sleep_and_reload_say_that_it_is_done(home):
    fake = Fake(rows=[row("qwen")])
    async with serving(fake):
        assert (await verb("sleep", "qwen")).out == '"qwen" is asleep\n'
        assert (await verb("reload")).out == "the config is read again\n"
    assert fake.asked == [("sleep", "qwen"), ("reload", "")]


async def test_the_config_says_which_of_several_is_meant(home):
    a, b = Fake(config=str(home / "a.yaml"), pid=1), Fake(config=str(home / "b.yaml"), pid=2)
    async with serving(a), serving(b):
        told = await verb("reload")
        assert told.code == 1 and "several publishers run here" in told.err and f"--config {home / 'b.yaml'}" in told.err
        assert (await verb("reload", "--config", str(home / "b.yaml"))).code == 0
        assert (await verb("reload", PUBLISHER_CONFIG=str(home / "a.yaml"))).code == 0
        assert (await verb("reload", "--pid", "2")).code == 0
    assert (a.asked.count(("reload", "")), b.asked.count(("reload", ""))) == (1, 2)


async def test_logs_are_the_publishers_own_last_lines(home):
    fake = Fake()
    for number in range(150):
        fake.log.info("line %d", number)
    async with serving(fake):
        lines = (await verb("logs")).out.splitlines()
        assert len(lines) == 100 and lines[-1].endswith("line 149")
        assert [line.split()[-1] for line in (await verb("logs", "-n", "2")).out.splitlines()] == ["148", "149"]
        assert (await verb("logs", "-n", "0")).out == ""


async def test_following_the_log_shows_each_line_when_it_comes(home):
    fake = Fake()
    fake.log.info("before")
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(serving(fake))
        process = await begun("logs", "-f")
        assert (await process.stdout.readline()).endswith(b"before\n")
        fake.log.warning("now")
        assert (await process.stdout.readline()).endswith(b"warning: now\n")
        await stack.aclose()
        _, err = await process.communicate()
    assert process.returncode == 1 and err == b"publisher: the publisher has ended\n"


async def test_with_a_name_logs_are_the_output_of_its_server(home):
    file = home / "qwen.log"
    file.write_bytes(b"one\n\xff two\r\nthree\n")
    rows = [row("qwen", log_file=str(file), aliases=["q"]), row("other"), row("new", log_file=str(home / "no.log"))]
    async with serving(Fake(rows=rows)):
        process = await begun("logs", "q", "-n", "2")
        assert (await process.communicate())[0] == b"\xff two\r\nthree\n"
        assert "runs no process" in (await verb("logs", "other")).err
        assert '"x" is not published here; published: qwen, other, new' in (await verb("logs", "x")).err
        assert f"{home / 'no.log'} cannot be read: No such file" in (await verb("logs", "new")).err
        assert not (await verb("logs", "qwen", "--lines", "0")).out


async def test_following_a_servers_output_goes_on_after_it_is_rotated(home):
    file = home / "qwen.log"
    file.write_text("old\n")
    async with serving(Fake(rows=[row("qwen", log_file=str(file))])):
        process = await begun("logs", "qwen", "-f")
        assert await process.stdout.readline() == b"old\n"
        file.rename(home / "qwen.log.1")
        file.write_text("new\n")
        assert await process.stdout.readline() == b"new\n"
        process.send_signal(signal.SIGINT)
        await process.communicate()
    assert process.returncode == 130


async def test_the_output_of_a_server_can_be_read_after_the_publishers_end(home):
    config = home / "config" / "reveille" / "publisher.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(
        "broker: http://127.0.0.1:9\nproviders:\n- {name: qwen, url: 'http://127.0.0.1:9/v1', publish: true,"
        f" wake: {{type: process, command: x, logFile: '{home / 'crash.log'}'}}}}\n"
    )
    (home / "crash.log").write_text("out of memory\n")
    assert (await verb("logs", "qwen")).out == "out of memory\n"
    told = await verb("logs", "other")
    assert told.code == 1 and "no publisher runs here" in told.err


async def test_who_reads_no_further_is_no_error(home):
    file = home / "qwen.log"
    file.write_bytes(b"x" * 70 + b"\n" + b"y\n" * 1_000_000)
    async with serving(Fake(rows=[row("qwen", log_file=str(file))])):
        process = await begun("logs", "qwen", "-n", "1000000")
        await process.stdout.readline()
        process._transport.get_pipe_transport(1).close()
        err = await process.stderr.read()
        await process.wait()
    assert b"Traceback" not in err and b"cannot be read" not in err


# ── beside a real publisher ─────────────────────────────────────────────────


async def test_the_verbs_work_on_a_real_publisher(home):
    async with FakeBroker() as broker, Ollama(["m"]) as server:
        config = home / "p.yaml"
        native = "{type: native}"
        config.write_text(
            f"broker: {broker.url}\nproviders:\n"
            f"- {{name: m, type: ollama, url: '{server.url}', publish: true, wake: {native}, sleep: {native}}}\n"
        )
        publisher = await begun("run", "--plain", "--config", str(config))
        try:
            await broker.ready()
            status = json.loads((await verb("status", "--json")).out)
            assert status["pid"] == publisher.pid and status["config"] == str(config)
            assert [(row["name"], row["state"]) for row in status["rows"]] == [("m", "hibernating")]
            assert (await verb("wake", "m")).out.startswith('"m" is awake') and server.loaded == ["m"]
            assert (await verb("sleep", "m")).out == '"m" is asleep\n' and server.loaded == []
            assert "channel open" in (await verb("logs")).out
            assert "runs no process" in (await verb("logs", "m")).err
            config.write_text("providers: [")
            told = await verb("reload")
            assert told.code == 1 and "the one before stays in force" in told.err and told.err.count("\n") == 1
            assert "the edited config is not used" in (await verb("status")).out
        finally:
            publisher.terminate()
            await publisher.communicate()
    assert publisher.returncode == 0
    assert (await verb("status")).err == "publisher: no publisher runs here: start one with publisher run\n"
    assert not list((home / "run" / "reveille").iterdir())


# ── completion ──────────────────────────────────────────────────────────────


def completing(words: str) -> dict[str, str]:
    return {"_PUBLISHER_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}


async def test_names_complete_from_the_running_publisher(home):
    async with serving(Fake(rows=[row("qwen3"), row("qwen-vl"), row("llama")])):
        assert (await verb(**completing("publisher wake qw"))).out.split() == ["plain,qwen3", "plain,qwen-vl"]
        assert (await verb(**completing("publisher logs l"))).out.split() == ["plain,llama"]


async def test_names_complete_from_the_config_when_none_runs(home):
    config = home / "c.yaml"
    config.write_text("providers:\n- {name: qwen3, url: 'http://127.0.0.1:9/v1', publish: true}\n")
    told = await verb(**completing("publisher wake q"), PUBLISHER_CONFIG=str(config))
    assert told.out.split() == ["plain,qwen3"]
    config.write_text("providers: [")
    told = await verb(**completing("publisher wake q"), PUBLISHER_CONFIG=str(config))
    assert (told.out.strip(), told.err) == ("", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_the_script_is_printed_with_a_line_on_how_to_load_it(home, shell):
    told = await verb("completion", shell)
    assert told.code == 0 and told.err == ""
    assert told.out.startswith("# Load it") and "_PUBLISHER_COMPLETE" in told.out


async def test_bash_takes_the_script(home):
    script = (await verb("completion", "bash")).out
    process = await asyncio.create_subprocess_exec("bash", "-c", script + "\ncomplete -p publisher", stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0 and b"publisher" in out
