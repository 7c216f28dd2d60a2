"""What every test may use: async tests, and a Redis in three forms.

``redis_at`` runs a test on fakeredis, on a real server and on a Cluster of
three; each test has a namespace of its own, and leaves nothing behind in it.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import tempfile

import hypothesis
import pytest

from tests.support import servers
from tests.support.places import ClusterPlace, FakePlace, Place, ServerPlace
from tests.support.server import single_server

LIMIT_S = 60


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Async tests run on a loop of their own, within a limit."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    marker = pyfuncitem.get_closest_marker("limit_s")
    limit_s = marker.args[0] if marker else LIMIT_S

    async def bounded():
        async with asyncio.timeout(limit_s):
            await pyfuncitem.obj(**arguments)

    asyncio.run(bounded())
    return True


#: Of the tests of each file one in so many runs there as well; all run on the real server, and the store's on fakeredis too.
SOME = {"fake": 3, "cluster": 6}


def pytest_addoption(parser):
    parser.addoption(
        "--places", choices=["some", "all"], default="some",
        help="where tests run beside the real server: some of each file on fakeredis and on a Cluster, or every one",
    )


def pytest_collection_modifyitems(config, items):
    """All keys of a script are in one slot, whatever it does, so some of the tests show it; each file keeps a few."""
    if config.getoption("--places") == "all":
        return
    seen: dict[tuple[str, str], int] = {}
    left_out = []
    for item in items:
        place = getattr(item, "callspec", None) and item.callspec.params.get("redis_at")
        if place in SOME and not (place == "fake" and item.location[0].startswith("tests/store")):
            which = item.location[0], place
            number = seen[which] = seen.get(which, -1) + 1
            if number % SOME[place]:
                left_out.append(item)
    config.hook.pytest_deselected(items=left_out)
    dropped = set(left_out)
    items[:] = [item for item in items if item not in dropped]


def pytest_configure(config):
    config.addinivalue_line("markers", "limit_s(seconds): how long an async test may take")
    # The same examples each time, and none is wrong for being slow; `--hypothesis-profile default` looks for new ones.
    if not config.getoption("--hypothesis-profile"):
        hypothesis.settings.load_profile("ci")


@pytest.fixture(scope="session", autouse=True)
def own_surroundings(tmp_path_factory):
    """No publisher of another process of tests, or of whoever runs them, is found by one here; and Ctrl-C is heard by
    the programs under test, though a shell that runs tests in the background has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    tmp_path_factory.getbasetemp()  # pytest's own folders stay where they are
    # A socket's path must be short, and pytest's folders are deep.
    with tempfile.TemporaryDirectory(prefix="rv", dir="/tmp" if os.name == "posix" else None) as folder:
        with pytest.MonkeyPatch.context() as patch:
            runtime = os.path.join(folder, "run")
            os.mkdir(runtime, 0o700)
            patch.setenv("XDG_RUNTIME_DIR", runtime)
            patch.setenv("TMPDIR", folder)
            patch.setattr("tempfile.tempdir", None)
            yield


@pytest.fixture(scope="session")
def real_server(tmp_path_factory):
    with single_server(tmp_path_factory.mktemp("redis"), "--save", "", "--appendonly", "yes") as server:
        yield server


@pytest.fixture(scope="session")
def real_cluster(tmp_path_factory):
    with servers.cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(params=["fake", "real", "cluster"])
def redis_at(request) -> Place:
    """A place for a broker's keys; what is left there at the end must be able to end by itself."""
    if request.param == "fake":
        place = FakePlace()
    elif request.param == "real":
        place = ServerPlace(request.getfixturevalue("real_server"))
    else:
        place = ClusterPlace(request.getfixturevalue("real_cluster"))
    yield place
    asyncio.run(place.end())


@pytest.fixture
def redis_real(real_server) -> Place:
    """As ``redis_at``, on the real server only: for tests about time, load and processes."""
    place = ServerPlace(real_server)
    yield place
    asyncio.run(place.end())
