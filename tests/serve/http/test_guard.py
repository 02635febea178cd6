"""The door: tokens, names and origins."""

import hmac
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from mezzotint.errors import ConfigError, ModelError
from mezzotint.model.model import Model
from mezzotint.serve.http.api import create_app
from mezzotint.serve.http.guard import OPEN, Guard
from mezzotint.serve.http.server import serve
from mezzotint.serve.http.service import Service
from mezzotint.serve.http.settings import Settings, is_loopback, make_limits

TOKEN = "0123456789abcdef"


def connect(
    models: dict[str, Model], tmp_path: Path, base: str = "http://localhost", **said: object
) -> TestClient:
    settings = Settings(log=tmp_path / "log.jsonl", **said)  # type: ignore[arg-type]
    return TestClient(create_app(settings, Service(models, settings)), base_url=base)


def test_with_a_token_only_who_brings_it_is_served(models: dict[str, Model], tmp_path: Path) -> None:
    with connect(models, tmp_path, token=TOKEN) as client:
        for wrong in (
            None,
            "",
            TOKEN,
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN[:-1]}",
            f"Basic {TOKEN}",
            "Bearer é",
        ):
            headers = {} if wrong is None else {"Authorization": wrong.encode("utf-8")}
            for method, path in (
                ("GET", "/generate"),
                ("GET", "/v1/models"),
                ("POST", "/v1/jobs"),
                ("GET", "/metrics"),
            ):
                answer = client.request(method, path, headers=headers)
                assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        assert client.get("/generate", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert all(client.get(path).status_code == 200 for path in OPEN)
        assert "HTTPBearer" in client.get("/openapi.json").text


def test_names_and_plain_addresses(models: dict[str, Model], tmp_path: Path) -> None:
    with connect(models, tmp_path, hosts=("Pictures.example.org",)) as client:
        for host in ("localhost:8000", "127.0.0.1", "[::1]:80", "192.0.2.7:8000", "pictures.EXAMPLE.org"):
            assert client.get("/", headers={"Host": host}).status_code == 200, host
        for host in (
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "[::1",
            "a b",
            "0x7f.1",
        ):
            assert client.get("/", headers={"Host": host}).status_code == 421, host


def test_pages_of_other_origins(models: dict[str, Model], tmp_path: Path) -> None:
    with connect(models, tmp_path) as client:
        for origin in (
            "http://evil.example",
            "null",
            "http://localhost:81",
            "file://localhost",
            "http://[",
            "",
        ):
            answer = client.post("/v1/generate", json={}, headers={"Origin": origin})
            assert answer.status_code == 403, origin
        assert client.post("/v1/generate", json={}, headers={"Origin": "http://localhost"}).status_code == 200
        image = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
        assert client.get("/generate", headers=image).status_code == 403
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        assert client.get("/docs", headers=link).status_code == 200


def test_without_a_token_other_addresses_are_not_served(models: dict[str, Model], tmp_path: Path) -> None:
    with connect(models, tmp_path, base="http://192.0.2.7") as client:
        assert client.get("/").status_code == 403
    with connect(models, tmp_path, base="http://192.0.2.7", token="none") as client:
        assert client.get("/").status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_such_an_address_needs_a_token_to_start(host: str) -> None:
    with pytest.raises(ConfigError, match="set a token"):
        serve(Settings(), host, 0)


def test_settings_from_the_environment(tmp_path: Path) -> None:
    assert Settings.from_environment({}) == Settings()
    names = {
        "MODELS": "digits, moons",
        "TOKEN": TOKEN,
        "LOG": str(tmp_path / "x"),
        "MAX_QUEUE": "3",
        "HOSTS": "a.b",
        "RUNS": str(tmp_path),
        "ENCODER": "clip",
    }
    settings = Settings.from_environment({f"MEZZOTINT_{name}": value for name, value in names.items()})
    assert settings.models == ("digits", "moons") and settings.secret == TOKEN and settings.hosts == ("a.b",)
    assert settings.runs == tmp_path and settings.encoder == Path("clip")
    assert settings.log == tmp_path / "x" and settings.limits == make_limits(max_queue=3)
    for name, value in (("MAX_N", "many"), ("MAX_N", "0"), ("KEEP_JOBS", "-1"), ("TOKEN", "short")):
        with pytest.raises(ConfigError):
            Settings.from_environment({f"MEZZOTINT_{name}": value})
    with pytest.raises(ModelError, match="give the folder that holds them"):
        Settings.from_environment({"MEZZOTINT_RUNS": str(tmp_path / "nowhere")})


def test_loopback() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.9.9.9", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "example.org", "localhost.example.org", "")))


def test_a_host_is_a_host_and_nothing_beside_it(models: dict[str, Model], tmp_path: Path) -> None:
    with connect(models, tmp_path) as client:
        for host in (
            *(
                "evil.com@127.0.0.1",
                "localhost/evil",
                "localhost#",
                "localhost?x",
                "localhost:",
                "localhost:port",
            ),
            *(
                "127.0.0.1:80:80",
                "[127.0.0.1",
                "[localhost]",
                "::1",
                "localhost.",
                "localhost\\evil",
                " localhost",
            ),
        ):
            assert client.get("/", headers={"Host": host}).status_code == 421, host
        for origin in ("http://x@localhost", "http://localhost/", "http://localhost/x"):
            assert client.post("/v1/generate", json={}, headers={"Origin": origin}).status_code == 403, origin


def test_links_and_frames_of_other_sites_compute_nothing(models: dict[str, Model], tmp_path: Path) -> None:
    with connect(models, tmp_path) as client:
        for site in ("cross-site", "same-site", "new-kind"):
            for mode in ("navigate", "no-cors", "cors"):
                headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
                for path in ("/generate", "/v1/models", "/metrics"):
                    assert client.get(path, headers=headers).status_code == 403
                assert client.post("/v1/jobs", json={}, headers=headers).status_code == 403
        assert client.get("/generate").status_code == 200, "curl"
        for site in ("none", "same-origin"):  # typed, or of a page of ours
            assert client.get("/generate", headers={"Sec-Fetch-Site": site}).status_code == 200


def test_requests_are_counted_and_probes_are_not(models: dict[str, Model], tmp_path: Path) -> None:
    settings = Settings(log=tmp_path / "log.jsonl", limits=make_limits(max_queue=1, max_per_client=1))
    app = create_app(settings, Service(models, settings))
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/v1/models").status_code == 200
        layer = app.middleware_stack
        while not isinstance(layer, Guard):
            layer = layer.app  # type: ignore[union-attr]
        assert not layer.open, "each was counted until it was over"
        layer.open["testclient"] = 20
        refused = client.get("/v1/models")
        assert refused.status_code == 429 and refused.headers["retry-after"]
        layer.open["testclient"], layer.open["elsewhere"] = 0, 68
        assert client.get("/v1/models").status_code == 503
        assert all(client.get(path).status_code == 200 for path in OPEN)


def test_tokens_are_compared_in_constant_time(
    models: dict[str, Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest
    monkeypatch.setattr("hmac.compare_digest", lambda a, b: compared.append((a, b)) or compare(a, b))
    with connect(models, tmp_path, token=TOKEN) as client:
        assert client.get("/v1/models", headers={"Authorization": "Bearer x"}).status_code == 401
    assert compared == [(b"Bearer x", f"Bearer {TOKEN}".encode())]
