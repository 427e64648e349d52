"""ETSI GS QKD 014 v1.1.1 over real TLS: what the standard says word by word, and nothing to whoever may not have it."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from keys_made import LINK, Ends, ends

from qnoded.errors import ConfigError, RequestRefused
from qnoded.exchange.committing import CHECK_BYTES
from qnoded.node.delivery import demo_pki, server
from qnoded.node.delivery.directory import Directory, Local
from qnoded.node.delivery.server import serving
from qnoded.node.delivery.tls import client_context
from qnoded.node.keys.contents import StoreRules
from qnoded.node.keys.key_ids import Mode
from qnoded.node_settings.keys import DeliverySettings
from qnoded.secret import Secret

ALICE, BOB, EVE = "sae-alice", "sae bob/1", "sae-eve"
"""One name has to be encoded in a path."""
RULES = StoreRules(simulation=True, pool_bytes=0, most_keys=1000)

Answer = tuple[int, Any]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    demo_pki.make(folder, ["kme-a", "kme-b"], [ALICE, EVE, "bob"])
    demo_pki.make(folder / "foreign", ["kme-a"], [ALICE])
    return folder


@dataclass
class Kmes:
    """Two nodes that serve keys."""

    stores: Ends
    ports: dict[str, int]
    pki: Path
    session: aiohttp.ClientSession

    async def ask(self, kme: str, who: str, path: str, body: object = None, **query: str) -> Answer:
        context = client_context(self.pki / f"{who}.crt", self.pki / f"{who}.key", self.pki / "ca.crt")
        method = "GET" if body is None else "POST"
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = f"https://127.0.0.1:{self.ports[kme]}{path}"
        async with self.session.request(
            method, url, data=None if body is None else data, params=query, ssl=context
        ) as reply:
            assert reply.content_type == "application/json"
            return reply.status, json.loads(await reply.read())


def settings_of(pki: Path, kme: str, **changes: object) -> DeliverySettings:
    local, remote = (
        ({ALICE, EVE}, {"bob": "kme-b", BOB: "kme-b"}) if kme == "kme-a" else ({"bob", EVE}, {ALICE: "kme-a"})
    )
    table = {
        "listen": "127.0.0.1:0",
        "kme_id": kme,
        "certificate": pki / f"{kme}.crt",
        "private_key": pki / f"{kme}.key",
        "client_ca": pki / "ca.crt",
        "local": {name: {} for name in local},
        "remote": {name: {"link": "peer", "kme_id": one} for name, one in remote.items()},
    }
    return DeliverySettings.model_validate(table | changes)


@asynccontextmanager
async def kmes(folder: Path, pki: Path, **changes: object) -> AsyncIterator[Kmes]:
    with ends(folder, RULES) as stores:
        stores.commit(1, CHECK_BYTES + 32 * 200)
        one, two = settings_of(pki, "kme-a", **changes), settings_of(pki, "kme-b")
        async with (
            serving(one, Directory.of(one, lambda _: LINK), stores.alice) as (_, port_a),
            serving(two, Directory.of(two, lambda _: LINK), stores.bob) as (_, port_b),
            aiohttp.ClientSession() as session,
        ):
            yield Kmes(stores, {"kme-a": port_a, "kme-b": port_b}, pki, session)


def served(folder: Path, pki: Path, script: Callable[[Kmes], Awaitable[None]], **changes: object) -> None:
    async def run() -> None:
        async with kmes(folder, pki, **changes) as both:
            await script(both)

    asyncio.run(run())


def test_status_has_all_fields_of_the_standard(tmp_path: Path, pki: Path) -> None:
    async def script(both: Kmes) -> None:
        code, status = await both.ask("kme-a", ALICE, "/api/v1/keys/bob/status")
        assert code == 200
        assert status.pop("status_extension") == {"qnoded_modes": ["qkd", "hybrid"], "qnoded_stock_low": False}
        assert status == {
            "source_KME_ID": "kme-a",
            "target_KME_ID": "kme-b",
            "master_SAE_ID": ALICE,
            "slave_SAE_ID": "bob",
            "key_size": 256,
            "stored_key_count": 100,
            "max_key_count": 1000,
            "max_key_per_request": 128,
            "max_key_size": 8192,
            "min_key_size": 64,
            "max_SAE_ID_count": 0,
        }
        code, status = await both.ask("kme-a", ALICE, "/api/v1/keys/sae%20bob%2F1/status")
        assert (code, status["slave_SAE_ID"]) == (200, BOB)

    served(tmp_path, pki, script)


@pytest.mark.parametrize("by_post", [False, True])
def test_keys_by_get_and_post_are_equal_at_both_nodes_and_leave_once(tmp_path: Path, pki: Path, by_post: bool) -> None:
    async def script(both: Kmes) -> None:
        enc, dec = "/api/v1/keys/bob/enc_keys", f"/api/v1/keys/{ALICE}/dec_keys"
        if by_post:
            code, mine = await both.ask("kme-a", ALICE, enc, {"number": 3, "size": 512, "unknown": 1})
        else:
            code, mine = await both.ask("kme-a", ALICE, enc, number="3", size="512")
        assert code == 200
        assert [len(base64.b64decode(one["key"], validate=True)) for one in mine["keys"]] == [64] * 3
        assert mine["keys"][0]["key_extension"] == {"qnoded_mode": "qkd", "qnoded_simulated": True}
        if by_post:
            asked = {"key_IDs": [{"key_ID": one["key_ID"], "master_SAE_ID": ALICE} for one in mine["keys"]]}
            code, theirs = await both.ask("kme-b", "bob", dec, asked)
            assert (code, theirs) == (200, mine)
        else:
            for one in mine["keys"]:
                code, theirs = await both.ask("kme-b", "bob", dec, key_ID=one["key_ID"])
                assert (code, theirs) == (200, {"keys": [one]})
        for one in mine["keys"]:
            code, refusal = await both.ask("kme-b", "bob", dec, key_ID=one["key_ID"])
            assert (code, refusal["message"]) == (400, "one or more keys specified are not found on KME")

    served(tmp_path, pki, script)


def test_an_empty_request_gives_one_key_of_the_usual_size(tmp_path: Path, pki: Path) -> None:
    async def script(both: Kmes) -> None:
        for body in (None, b"", b"{}", {"extension_optional": [{"other_wish": 1}, {"qnoded_mode": "none"}]}):
            code, mine = await both.ask("kme-a", ALICE, "/api/v1/keys/bob/enc_keys", body)
            assert code == 200
            (one,) = mine["keys"]
            assert len(base64.b64decode(one["key"])) == 32

    served(tmp_path, pki, script)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"size": 257}, "size shall be a multiple of 8"),
        ({"extension_mandatory": [{"abc_route": "direct"}]}, "not all extension_mandatory parameters are supported"),
        ({"extension_mandatory": [{"qnoded_mode": 3}]}, "not all extension_mandatory request options could be met"),
        (
            {"extension_mandatory": [{"qnoded_mode": "qkd"}, {"qnoded_mode": "pqc"}]},
            "not all extension_mandatory request options could be met",
        ),
        ({"additional_slave_SAE_IDs": ["sae-c"]}, "this KME gives keys to one slave SAE only: max_SAE_ID_count is 0"),
        ({"number": 0}, "number shall be from 1 to 128"),
        ({"number": 129}, "number shall be from 1 to 128"),
        ({"number": True}, "number shall be an integer"),
        ({"number": "1"}, "number shall be an integer"),
        ({"size": 8}, "size shall be from 64 to 8192 bits"),
        ({"size": 8200}, "size shall be from 64 to 8192 bits"),
        ({"extension_mandatory": {}}, "extension_mandatory shall be an array of objects"),
        ({"additional_slave_SAE_IDs": "x"}, "additional_slave_SAE_IDs shall be an array of strings"),
        (b"[1]", "the body shall be one JSON object"),
        (b"{", "the body shall be one JSON object"),
        (b"\xff\xfe", "the body shall be one JSON object"),
        (b"[" * 100_000, "the body shall be one JSON object"),
        (b'{"a": "' + b"x" * 200_000 + b'"}', "no such request: Request Entity Too Large"),
    ],
)
def test_bad_requests_get_400_and_the_standards_words(tmp_path: Path, pki: Path, body: object, message: str) -> None:
    async def script(both: Kmes) -> None:
        code, refusal = await both.ask("kme-a", ALICE, "/api/v1/keys/bob/enc_keys", body)
        assert (code, refusal["message"]) == (400, message)
        assert all(isinstance(one, dict) for one in refusal.get("details", []))
        assert both.stores.alice.stock(LINK).own_keys == 100

    served(tmp_path, pki, script)


def test_bad_queries_paths_and_names_get_400(tmp_path: Path, pki: Path) -> None:
    async def script(both: Kmes) -> None:
        enc, dec = "/api/v1/keys/bob/enc_keys", f"/api/v1/keys/{ALICE}/dec_keys"
        queries: list[tuple[str, str, str, dict[str, str]]] = [
            ("kme-a", ALICE, enc, {"number": "-1"}),
            ("kme-a", ALICE, enc, {"number": "1e3"}),
            ("kme-a", ALICE, enc, {"extension_mandatory": "x"}),
            ("kme-a", ALICE, "/api/v1/keys/nobody/enc_keys", {}),
            ("kme-a", ALICE, f"/api/v1/keys/{EVE}/enc_keys", {}),
            ("kme-a", ALICE, "/api/v1/keys/bob/other", {}),
            ("kme-a", ALICE, "/", {}),
            ("kme-b", "bob", dec, {}),
            ("kme-b", "bob", dec, {"key_ID": "x"}),
            ("kme-b", "bob", dec, {"key_ID": str(uuid4())}),
            ("kme-b", "bob", dec, {"key_ID": "{" + str(uuid4()) + "}"}),
        ]
        for kme, who, path, query in queries:
            code, refusal = await both.ask(kme, who, path, **query)
            assert code == 400, (path, query)
            assert refusal["message"]
        bodies = [
            {},
            {"key_IDs": []},
            {"key_IDs": ["x"]},
            {"key_IDs": [{}]},
            {"key_IDs": [{"key_ID": str(uuid4())}] * 129},
        ]
        for body in bodies:
            code, _ = await both.ask("kme-b", "bob", dec, body)
            assert code == 400, body
        code, refusal = await both.ask("kme-a", ALICE, "/api/v1/keys/bob/status", {})
        assert (code, refusal["message"]) == (400, "no such request: Method Not Allowed")

    served(tmp_path, pki, script)


def test_nobody_gets_what_is_not_theirs(tmp_path: Path, pki: Path) -> None:
    async def script(both: Kmes) -> None:
        _, mine = await both.ask("kme-a", ALICE, "/api/v1/keys/bob/enc_keys")
        name = mine["keys"][0]["key_ID"]
        code, refusal = await both.ask("kme-b", EVE, f"/api/v1/keys/{ALICE}/dec_keys", key_ID=name)
        assert (code, refusal["message"]) == (401, f"key {name} was not made for {EVE}")
        for kme, who in (("kme-a", "bob"), ("kme-b", ALICE)):
            code, refusal = await both.ask(kme, who, "/api/v1/keys/bob/status")
            assert code == 401
            assert "not one of an application of this KME" in refusal["message"]
        code, _ = await both.ask("kme-b", "bob", f"/api/v1/keys/{ALICE}/dec_keys", key_ID=name)
        assert code == 200

    served(tmp_path, pki, script)


def test_who_asks_for_keys_that_are_not_there_waits_longer_each_time_and_is_named(
    tmp_path: Path, pki: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Against guessing names, however many requests are in work at once; what is there is served after that."""
    slept: list[float] = []

    async def no_time(delay_s: float) -> None:
        slept.append(delay_s)

    monkeypatch.setattr(server, "MANY_REFUSALS", 3)
    monkeypatch.setattr(server.asyncio, "sleep", no_time)

    async def script(both: Kmes) -> None:
        _, mine = await both.ask("kme-a", ALICE, "/api/v1/keys/bob/enc_keys")
        path, name = f"/api/v1/keys/{ALICE}/dec_keys", mine["keys"][0]["key_ID"]
        for _ in range(3):
            assert (await both.ask("kme-b", EVE, path, key_ID=name))[0] == 401
        assert (await both.ask("kme-b", "bob", path, key_ID=name))[0] == 200

    served(tmp_path, pki, script)
    # The clock has gone on a little between them.
    eves = [delay for delay in slept if delay > 0]
    assert len(eves) == 2
    assert eves[0] <= server.PATIENCE_S < eves[1] <= 2 * server.PATIENCE_S
    assert f"{EVE} has asked for 3 keys that are not there for it" in caplog.text


def test_certificates_of_another_root_or_none_do_not_get_in(tmp_path: Path, pki: Path) -> None:
    async def script(both: Kmes) -> None:
        url = f"https://127.0.0.1:{both.ports['kme-a']}/api/v1/keys/bob/status"
        foreign = client_context(pki / f"foreign/{ALICE}.crt", pki / f"foreign/{ALICE}.key", pki / "ca.crt")
        none = ssl.create_default_context(cafile=pki / "ca.crt")
        for context in (foreign, none):
            with pytest.raises(aiohttp.ClientError):
                await both.session.get(url, ssl=context)
        mistrusting = client_context(pki / f"{ALICE}.crt", pki / f"{ALICE}.key", pki / "foreign/ca.crt")
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await both.session.get(url, ssl=mistrusting)

    served(tmp_path, pki, script)


def test_too_few_keys_are_503_and_reserved_ones_stay(tmp_path: Path, pki: Path) -> None:
    async def script(both: Kmes) -> None:
        path = "/api/v1/keys/bob/enc_keys"
        code, refusal = await both.ask("kme-a", ALICE, path, number="80")
        assert code == 503
        assert "30 of them reserved for others" in refusal["message"]
        code, mine = await both.ask("kme-a", ALICE, path, number="70")
        assert (code, len(mine["keys"])) == (200, 70)
        assert (await both.ask("kme-a", ALICE, path))[0] == 503
        assert (await both.ask("kme-a", EVE, path, number="30"))[0] == 200
        assert (await both.ask("kme-a", EVE, path))[0] == 503

    served(tmp_path, pki, script, local={ALICE: {}, EVE: {"reserved_keys": 30}})


MODES = {"modes": ["qkd", "hybrid", "pqc"]}


def test_hybrid_and_post_quantum_keys_say_what_they_are(tmp_path: Path, pki: Path) -> None:
    async def script(both: Kmes) -> None:
        path = "/api/v1/keys/bob/enc_keys"
        wish = {"extension_mandatory": [{"qnoded_mode": "hybrid"}]}
        assert (await both.ask("kme-a", ALICE, path, wish))[0] == 503
        for store in (both.stores.alice, both.stores.bob):
            store.keep_agreement(LINK, 1, Secret(bytes(48))).result()
        for mode in ("hybrid", "pqc"):
            code, mine = await both.ask("kme-a", ALICE, path, {"extension_optional": [{"qnoded_mode": mode}]})
            assert code == 200
            (one,) = mine["keys"]
            assert one["key_extension"] == {
                "qnoded_mode": mode,
                "qnoded_simulated": mode == "hybrid",
                "qnoded_agreement": "X25519+ML-KEM-768",
            }
            answer = await both.ask("kme-b", "bob", f"/api/v1/keys/{ALICE}/dec_keys", key_ID=one["key_ID"])
            # The slave's profile counts as well: bob's does not name pqc.
            assert answer == (200, mine) if mode == "hybrid" else answer[0] == 401

    served(tmp_path, pki, script, local={ALICE: MODES, EVE: {}})


def test_a_key_without_photons_is_for_those_alone_whose_profile_names_it(tmp_path: Path, pki: Path) -> None:
    async def script(both: Kmes) -> None:
        for store in (both.stores.alice, both.stores.bob):
            store.keep_agreement(LINK, 1, Secret(bytes(48))).result()
        path = "/api/v1/keys/bob/enc_keys"
        code, refused = await both.ask("kme-a", ALICE, path, {"extension_mandatory": [{"qnoded_mode": "pqc"}]})
        assert code == 400
        assert refused["details"] == [{"extension_mandatory_unmet": "qnoded_mode is one of qkd, hybrid for this SAE"}]
        _, other = await both.ask("kme-a", ALICE, path, {"extension_optional": [{"qnoded_mode": "pqc"}]})
        assert other["keys"][0]["key_extension"] == {"qnoded_mode": "qkd", "qnoded_simulated": True}
        assert (await both.ask("kme-a", EVE, path))[0] == 400

    served(tmp_path, pki, script, local={ALICE: {}, EVE: {"modes": ["pqc"]}})


def test_a_store_that_is_gone_is_503(tmp_path: Path, pki: Path) -> None:
    async def script(both: Kmes) -> None:
        both.stores.alice.close()
        code, refusal = await both.ask("kme-a", ALICE, "/api/v1/keys/bob/enc_keys")
        assert code == 503
        assert "closed" in refusal["message"]

    served(tmp_path, pki, script)


def test_curl_gets_the_same_key_at_both_nodes(tmp_path: Path, pki: Path) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")

    async def fetch(both: Kmes, kme: str, who: str, path: str) -> Any:
        process = await asyncio.create_subprocess_exec(
            *(curl, "--silent", "--fail", "--cacert", str(pki / "ca.crt"), "--cert", str(pki / f"{who}.crt")),
            *("--key", str(pki / f"{who}.key"), f"https://localhost:{both.ports[kme]}{path}"),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0
        return json.loads(output)

    async def script(both: Kmes) -> None:
        mine = await fetch(both, "kme-a", ALICE, "/api/v1/keys/bob/enc_keys")
        name = mine["keys"][0]["key_ID"]
        assert await fetch(both, "kme-b", "bob", f"/api/v1/keys/{ALICE}/dec_keys?key_ID={name}") == mine

    served(tmp_path, pki, script)


def test_a_taken_port_and_unusable_files_are_matters_of_config(tmp_path: Path, pki: Path) -> None:
    async def script(both: Kmes) -> None:
        listen = f"127.0.0.1:{both.ports['kme-a']}"
        broken: list[tuple[dict[str, object], str]] = [
            ({"listen": listen}, "choose another"),
            ({"certificate": pki / "ca.crt"}, "its own key"),
            ({"client_ca": pki / "kme-a.key"}, "root"),
            ({"private_key": pki / "none"}, "No such file"),
        ]
        for change, words in broken:
            settings = settings_of(pki, "kme-a", **change)
            with pytest.raises(ConfigError, match=words):
                async with serving(settings, Directory.of(settings, str), both.stores.alice):
                    pass

    served(tmp_path, pki, script)


def test_an_application_is_its_sae_uri_or_else_its_common_name() -> None:
    directory = Directory({"a": Local(0, (Mode.QKD,)), "b": Local(3, (Mode.QKD,))}, {})
    subject = ((("commonName", "a"),),)
    assert directory.caller({"subject": subject}) == "a"
    assert directory.caller({"subject": subject, "subjectAltName": (("DNS", "x"), ("URI", "sae:b"))}) == "b"
    for nobody in (None, {}, {"subject": ((("commonName", "c"),),)}, {"subjectAltName": (("URI", "sae:"),)}):
        with pytest.raises(RequestRefused) as refused:
            directory.caller(nobody)
        assert refused.value.status == 401
    assert directory.kept_for_others("a") == 3
    assert directory.kept_for_others("b") == 0
