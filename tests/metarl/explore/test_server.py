"""The page over HTTP: routes, what is refused and how, hosts."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from metarl.explore.guard import MOST_BYTES, Guard
from metarl.explore.loopback import is_loopback
from metarl.explore.server import STATIC, Server, _answered
from tests.metarl.explore.test_page import ROW

JSON = {"content-type": "application/json"}
HERE = "http://127.0.0.1:8765"


@pytest.fixture(scope="module")
def server(page):
    server = Server(page)
    yield server
    server.close()


@pytest.fixture
def client(server):
    return TestClient(server.app, base_url=HERE)


def test_the_page_and_all_its_files_are_served(client):
    assert "<title>metarl explore" in client.get("/").text
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    for file in STATIC.iterdir():
        answer = client.get("/" if file.suffix == ".html" else f"/{file.name}")
        assert answer.status_code == 200
        assert answer.content == file.read_bytes()
        assert answer.headers["content-type"].startswith(kinds.get(file.suffix, "text/html"))
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_nothing_comes_from_elsewhere():
    """No address of another host, and nothing that the policy would refuse."""
    for file in STATIC.iterdir():
        text = file.read_text("utf-8")
        for found in (
            "http://",
            "https://",
            "//cdn",
            "@import",
            "<script>",
            " style=",
            " onclick=",
        ):
            assert found not in text.replace("http://www.w3.org/2000/svg", ""), (file.name, found)


def test_a_trial_over_http_is_that_of_the_page(client, page):
    assert client.get("/api/setup").json()["version"] == page.setup()["version"]
    asked = {"maze": ROW, "agent": "mazes9", "steps": 20}
    answer = client.post("/api/trial", json=asked)
    assert answer.status_code == 200
    assert answer.json() == json.loads(json.dumps(page.trial(asked)))
    told = client.post("/api/anchors", json=asked).json()
    assert told["returns"]["oracle"] == pytest.approx(6)
    assert client.post("/api/maze", json={"maze": ROW}).json()["maze"]["code"]


def refusal(answer, status):
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    words = answer.json()["error"]
    assert "Traceback" not in words
    assert len(words) < 500
    return words


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "send a JSON object"),
        (b"{", "is not valid JSON"),
        (b"null", "send a JSON object"),
        (b"[1, 2]", "send a JSON object"),
        (b"\xff\xfe\x00", "is not valid JSON"),
        (b'{"seed": NaN}', "NaN is no number of JSON"),
        (b'{"seed": -Infinity}', "-Infinity is no number of JSON"),
        (b'{"maze": ' + b"[" * 30_000, "is not valid JSON"),
        (b'{"seed": ' + b"9" * 30_000 + b"}", "is not valid JSON"),
        (b'{"maze": "\\ud800"}', "link cannot be read"),
        ('{"mäze": "☃"}'.encode(), "no field here"),
        (b'{"source": "dfs", "size": 10}', "odd"),
    ],
)
def test_bad_bodies_are_told_in_words(client, body, told):
    assert told in refusal(client.post("/api/maze", content=body, headers=JSON), 400)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
NAMES = ("maze", "source", "size", "agent", "seed", "rule", "steps", "greedy", "moves")
VALID = {"maze": ROW, "agent": "keys", "moves": [3], "seed": 1, "rule": "start", "steps": 3}


@settings(max_examples=60)
@given(st.data())
def test_whatever_is_asked_is_answered_or_refused(page, data):
    """A good question with some of its parts changed, at any depth."""
    asked = {**VALID, **data.draw(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3))}
    if data.draw(st.booleans()):
        part = data.draw(st.sampled_from(("rows", "start", "goal", "direction", "code")))
        asked["maze"] = {**ROW, part: data.draw(VALUES)}
    body = json.dumps(asked).encode()
    for answer in (page.maze, page.trial, page.anchors):
        found = _answered(answer, body)
        assert found.status_code in (200, 400)
        assert found.status_code == 200 or len(json.loads(found.body)["error"]) < 500


def test_what_is_too_long_is_refused_before_it_is_read(client):
    huge = b" " * (MOST_BYTES + 1)
    assert "smaller maze" in refusal(client.post("/api/maze", content=huge, headers=JSON), 413)
    parts = (b" " * 1000 for _ in range(MOST_BYTES // 1000 + 2))  # its length is not said
    assert "smaller maze" in refusal(client.post("/api/maze", content=parts, headers=JSON), 413)
    wrong = {**JSON, "content-length": "nine"}
    assert "no number" in refusal(client.post("/api/maze", content=b"{}", headers=wrong), 400)


def test_other_methods_kinds_and_places(client):
    refusal(client.get("/api/trial"), 405)
    refusal(client.post("/api/setup", json={}), 405)
    refusal(client.get("/nothing"), 404)
    refusal(client.get("/../page.py"), 404)
    refusal(client.get("/%2e%2e/page.py"), 404)
    plain = {"content-type": "text/plain"}
    refusal(client.post("/api/maze", content=b"{}", headers=plain), 415)
    assert client.head("/").status_code == 200


def test_a_fault_of_ours_shows_no_traceback(page, monkeypatch):
    def broken(_):
        raise KeyError("secret")

    monkeypatch.setattr(page, "maze", broken)
    server = Server(page)
    client = TestClient(server.app, base_url=HERE, raise_server_exceptions=False)
    assert "secret" not in refusal(client.post("/api/maze", json={}), 500)
    server.close()


# Hosts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost", "LOCALHOST:1", "[::1]:8765"])
def test_hosts_that_are_this_machine(client, host):
    assert client.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "10.0.0.7", "localhost.evil.example", "", "::1"]
)
def test_another_name_for_this_machine_is_refused(client, host):
    """A page that had its own name point here could read the answers."""
    assert "open the address" in refusal(client.get("/", headers={"host": host}), 403)


def test_other_pages_may_not_ask(client):
    nonsense = ("http://[", "http://[::1", "http://[zz]", "")
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9999", *nonsense):
        answer = client.post("/api/maze", json={}, headers={"origin": origin})
        assert "another page" in refusal(answer, 403)
    answer = client.post("/api/maze", json={"maze": ROW}, headers={"origin": HERE})
    assert answer.status_code == 200


def test_hosts_where_it_listens_for_others():
    everywhere, named = Guard(None, "0.0.0.0"), Guard(None, "Box.local")
    assert everywhere.allows("192.168.0.9:80")
    assert everywhere.allows("[fe80::1]")
    assert not everywhere.allows("evil.example")
    assert named.allows("box.local:8765")
    assert not named.allows("evil.example")
    assert not Guard(None, "127.0.0.1").allows("192.168.0.9")


def test_what_is_loopback():
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost", "Localhost.")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "localhost.evil.example", "")))
