"""The offer of a run with nothing configured: asked on a terminal, told elsewhere."""

import asyncio
import signal
import sys

import pytest

from publisher.config.values import BrokerAddress
from publisher.find.found import Found, Sight
from publisher.find.offer import commands, offer, offered
from scripts.ports import free_port
from tests.publisher.find.little import BROKER, Little, openai_list
from tests.publisher.find.running import Typing, environment, ran
from tests.support.engines import Ollama, VLLM
from tests.support.fake_broker import FakeBroker

FOUND = [Found("ollama", "Ollama", "http://o", ("a", "b")), Found("vllm", "vLLM", "http://v", ("c",))]


class Answers:
    """Somebody who answers in order, and remembers what was said to them."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.said: list[str] = []

    def tell(self, line: str = "") -> None:
        self.said.append(line)

    def text(self, question: str, default: str | None = None, hidden: bool = False) -> str:
        self.said.append(question)
        return self.answers.pop(0) or default or ""

    def yes(self, question: str, default: bool) -> bool:
        self.said.append(question)
        return self.answers.pop(0) == "y"


@pytest.mark.parametrize(
    ("answers", "published"),
    [
        (("",), ["a", "b", "c"]), (("Y",), ["a", "b", "c"]), (("n",), []), (("what", "no"), []),
        (("choose", "3,1"), ["c", "a"]), (("c", "7", "", ""), ["a", "b", "c"]), (("c", "2-3"), ["b", "c"]),
    ],
)
def test_the_answer_decides_what_is_published(answers, published):
    somebody = Answers(*answers)
    assert [one.name for one in offer(FOUND, "http://b", somebody)] == published
    assert somebody.said[0] == "Publish these at http://b? [Y/n/choose]"


def test_a_wrong_answer_is_said_and_asked_again():
    somebody = Answers("c", "9", "1")
    offer(FOUND, "http://b", somebody)
    assert 'write numbers from 1 to 3, such as 1 or 1,3, or "all"' in somebody.said


@pytest.fixture
def only(monkeypatch):
    def ports(*some: int) -> None:
        monkeypatch.setattr("publisher.find.addresses.PORTS", some)
        monkeypatch.delenv("OLLAMA_HOST", raising=False)

    return ports


async def test_what_is_accepted_is_a_config_for_this_run(only):
    async with Ollama(["a"]) as one, VLLM(["b"]) as two, Little(BROKER) as broker:
        only(one.port, two.port, broker.port)
        somebody = Answers("", "y")
        config = await asyncio.to_thread(offered, None, somebody)
        assert [address.url for address in config.brokers] == [broker.url]
        assert [(p.name, p.type, p.url, p.model) for p in config.providers] == [
            ("a", "ollama", one.url, "a:latest"), ("b", "vllm", two.url, "b"),
        ]
        given = BrokerAddress("http://b", "hush")
        config = await asyncio.to_thread(offered, given, Answers("choose", "2"))
        assert config.brokers == (given,) and [p.name for p in config.providers] == ["b"]
        assert await asyncio.to_thread(offered, given, Answers("n")) is None


async def test_a_wrong_broker_address_is_asked_again(only):
    async with Ollama(["a"]) as one:
        only(one.port)
        somebody = Answers("nowhere", "", "y")
        config = await asyncio.to_thread(offered, None, somebody)
        assert config.brokers[0].url == "http://127.0.0.1:8080"


async def test_nothing_found_and_nothing_usable_are_said(only):
    only(free_port())
    somebody = Answers()
    assert await asyncio.to_thread(offered, None, somebody) is None
    assert somebody.said[0].startswith("publisher: nothing to publish: no LLM server was found")
    async with VLLM(["a"], api_key="k") as locked:
        only(locked.port)
        assert await asyncio.to_thread(offered, None, somebody) is None
        assert somebody.said[1].endswith("name one with --url and --model")


def offering(*ports: int, broker: str = "None") -> list[str]:
    code = (
        f"import publisher.find.addresses as a; a.PORTS = {ports!r}\n"
        "from publisher.config.values import BrokerAddress\n"
        "from publisher.find.offer import offered\n"
        f"config = offered({broker}); print([p.name for p in config.providers] if config else 'nothing')"
    )
    return [sys.executable, "-c", code]


async def test_without_a_terminal_two_commands_are_said_and_nothing_is_asked():
    async with VLLM(["org/a b"]) as there:
        done = await ran(*offering(there.port))
        assert done.out.strip() == "nothing"
        assert "publisher init --yes --broker http://127.0.0.1:8080 && publisher run" in done.err
        run = "publisher run --broker http://127.0.0.1:8080 --type vllm --backend " + there.url
        assert f"{run} --model 'org/a b'" in done.err
        done = await ran(*offering(there.port, broker="BrokerAddress('http://me:hush@b:1/?k=hush', 'hush')"))
        assert "hush" not in done.err and "--broker http://b:1/ " in done.err


def test_the_commands_can_be_pasted_into_any_shell():
    found = Found("vllm", "vLLM", "http://[::1]:8000", ("a b",))
    first, _, run = commands(Sight([found]), None)
    assert first.startswith("publisher: nothing is configured")
    if sys.platform != "win32":  # a zsh would look for files of that name
        assert "--backend 'http://[::1]:8000' --model 'a b'" in run


@pytest.mark.skipif(sys.platform == "win32", reason="a pty is POSIX")
async def test_to_reload_without_a_file_unpublishes_nothing(tmp_path):
    async with Ollama(["a"]) as there, FakeBroker() as broker:
        code = (f"import publisher.find.addresses as a; a.PORTS = ({there.port},)\nfrom publisher.cli.main import publisher\n"
                f"publisher(['run', '--plain', '--broker', {broker.url!r}], prog_name='publisher')")
        async with Typing(sys.executable, "-c", code, env=environment(tmp_path, XDG_RUNTIME_DIR=str(tmp_path))) as screen:
            await screen.answer("[Y/n/choose]")
            await screen.until("channel open")
            screen.signal(signal.SIGHUP)
            await screen.until("is not used, the one before stays in force: there is no config file")
            assert await screen.interrupted() == 0
        assert [[one["name"] for one in told["providers"]] for told in broker.registrations] == [["a"]]


@pytest.mark.skipif(sys.platform == "win32", reason="a pty is POSIX")
async def test_on_a_terminal_it_asks():
    async with Little({"/v1/models": openai_list("m", "n")}) as there:
        async with Typing(*offering(there.port), env=environment(TERM="dumb")) as screen:
            await screen.until("OpenAI-compatible server")
            await screen.answer("Broker address [http://127.0.0.1:8080]: ", "http://b:1")
            await screen.answer("Publish these at http://b:1? [Y/n/choose]", "choose")
            await screen.answer("Which?", "2")
            await screen.until("['n']")
            assert await screen.ended() == 0
