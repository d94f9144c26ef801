"""Settings: what is read, what is refused, and that the message names the variable."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard_core.settings import (
    AuthSettings,
    GatewaySettings,
    Group,
    LimitSettings,
    ProcessSettings,
    SettingsError,
    TopologySettings,
    TracingSettings,
    WorkerSettings,
    check_all,
    load,
)

SECRET = "b7e151628aed2a6abf7158809cf4f3c7"


def test_an_empty_environment_gives_the_defaults() -> None:
    topology = load(TopologySettings, {})
    assert topology.regions == ("ASIA", "EU", "NA", "GLOBAL")
    assert topology.redis_url_of("EU") == "redis://127.0.0.1:6379/0"
    assert topology.database_url_of("EU") == "postgresql://postgres:postgres@127.0.0.1:5432/leaderboard_eu"


def test_one_region_can_have_servers_of_its_own() -> None:
    environ = {
        "REDIS_URL": "redis://one/0",
        "REDIS_URL_EU": "redis://two/0",
        "PG_DATABASE_NA": "north america",
        "DATABASE_URL_ASIA": "postgresql://asia/db",
        "POSTGRES_PASSWORD": "p@ss/word",
    }
    topology = load(TopologySettings, environ)
    assert [topology.redis_url_of(region) for region in ("ASIA", "EU")] == ["redis://one/0", "redis://two/0"]
    assert topology.redis_variable_of("EU") == "REDIS_URL_EU"
    assert topology.database_url_of("NA") == "postgresql://postgres:p%40ss%2Fword@127.0.0.1:5432/north%20america"
    assert topology.database_url_of("ASIA") == "postgresql://asia/db"


def test_an_empty_value_counts_as_not_set() -> None:
    assert load(ProcessSettings, {"PORT": "", "LOG_LEVEL": " "}, port=4000).port == 4000


def test_the_process_environment_is_read_by_load_alone_and_only_where_it_is_given_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PORT", "7777")
    monkeypatch.setenv("REDIS_URL_EU", "redis://process/0")
    assert load(ProcessSettings).port == 7777
    assert load(TopologySettings).redis_url_of("EU") == "redis://process/0"
    assert load(ProcessSettings, {}).port == ProcessSettings.model_validate({}).port == 5000
    assert load(TopologySettings, {}).redis_url_of("EU") == "redis://127.0.0.1:6379/0"


def test_a_variables_name_is_in_upper_case_and_a_regions_fields_have_none_of_their_own() -> None:
    assert load(ProcessSettings, {"port": "7777", "Port": "7778"}).port == 5000
    assert load(TopologySettings, {"REGION_REDIS_URLS": '{"EU": "redis://x/0"}'}).region_redis_urls == {}


def test_regions_are_upper_case_and_global_is_needed() -> None:
    assert load(TopologySettings, {"REGIONS": " mars, global "}).regions == ("MARS", "GLOBAL")
    with pytest.raises(SettingsError, match="REGIONS: add GLOBAL"):
        load(TopologySettings, {"REGIONS": "MARS"})
    with pytest.raises(SettingsError, match="REGIONS: a region is named twice"):
        load(TopologySettings, {"REGIONS": "EU,eu,GLOBAL"})


def test_rules_between_settings_are_told_with_the_faults_of_each() -> None:
    wrong = {
        "PLAYER_WRITES": "maybe",
        "MIN_SCORE": "9",
        "MAX_SCORE": "1",
        "USER_RATE_LIMIT_COUNT": str(2**50),
        "REGION_RATE_LIMIT_PER_SEC": str(2**50),
        "JWT_SECRET": "short",
        "REGISTRATION": "shut",
        "POSTGRES_PORT": "0",
        "REDIS_WAIT_FSYNC": "true",
        "REDIS_URL_MARS": "redis://127.0.0.1:6379/0",
    }
    with pytest.raises(SettingsError) as raised:
        check_all(wrong)
    told = [line.partition(": ")[0] for line in str(raised.value).splitlines()]
    assert sorted(told) == sorted(wrong.keys() - {"MAX_SCORE"})


def test_regions_that_are_wrong_are_no_fault_of_what_names_one() -> None:
    with pytest.raises(SettingsError) as raised:
        load(TopologySettings, {"REGIONS": "MARS", "REDIS_URL_MARS": "redis://127.0.0.1:6379/0"})
    assert str(raised.value) == "REGIONS: add GLOBAL, the board that ranks every player."


def test_the_secret_comes_from_the_variable_or_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    assert load(AuthSettings, {"JWT_SECRET_FILE": str(file)}).jwt_secret.get_secret_value() == SECRET
    other = SECRET[::-1]
    both = {"JWT_SECRET": other, "JWT_SECRET_FILE": str(file)}
    assert load(AuthSettings, both).jwt_secret.get_secret_value() == other
    with pytest.raises(SettingsError, match="JWT_SECRET_FILE: cannot read"):
        load(AuthSettings, {"JWT_SECRET_FILE": str(tmp_path / "missing")})


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "b7e151628aed2a6abf7158809cf4f3c",
        "x" * 40,
        "change-me-change-me-change-me-1234",
        "my-super-secret-jwt-key-0123456789",
    ],
)
def test_a_weak_secret_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(AuthSettings, {"JWT_SECRET": secret})
    assert str(caught.value).startswith("JWT_SECRET:")
    assert not secret or secret not in str(caught.value)


@pytest.mark.parametrize(
    ("group", "variable", "value"),
    [
        (ProcessSettings, "PORT", "0"),
        (ProcessSettings, "PORT", "many"),
        (ProcessSettings, "LOG_LEVEL", "LOUD"),
        (TracingSettings, "OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        (TopologySettings, "REDIS_URL", "localhost:6379"),
        (TopologySettings, "REDIS_URL_EU", "localhost"),
        (TopologySettings, "REDIS_URL_MOON", "redis://moon"),
        (TopologySettings, "REDIS_URL", "redis://localhost:port/0"),
        (TopologySettings, "REDIS_URL", "redis://localhost:99999/0"),
        (TopologySettings, "REDIS_URL", "redis://localhost:0/0"),
        (TopologySettings, "REDIS_URL", "redis://localhost/scores"),
        (TopologySettings, "REDIS_URL", "redis://::1:6379/0"),
        (TopologySettings, "REDIS_URL", "redis:///0"),
        (TopologySettings, "REDIS_URL", "unix://"),
        (TopologySettings, "DATABASE_URL_EU", "mysql://x"),
        (TopologySettings, "DATABASE_URL_EU", "postgresql://localhost"),
        (TopologySettings, "DATABASE_URL_EU", "postgresql:///scores"),
        (TopologySettings, "DATABASE_URL_EU", "postgresql://localhost:x/scores"),
        (TopologySettings, "POSTGRES_HOST", "localhost:5432"),
        (TopologySettings, "POSTGRES_HOST", "postgresql://localhost"),
        (TopologySettings, "PG_DATABASE_MOON", "moon"),
        (LimitSettings, "USER_RATE_LIMIT_COUNT", "0"),
        (LimitSettings, "USER_RATE_LIMIT_COUNT", "9999999999"),
        (LimitSettings, "REGION_RATE_LIMIT_PER_SEC", "9999999999999"),
        (LimitSettings, "METRICS_BOARDS", "main,Kills"),
        (LimitSettings, "METRICS_BOARDS", "main, other"),
        (LimitSettings, "METRICS_BOARDS", ","),
        (WorkerSettings, "BATCH_SIZE", "0"),
        (TracingSettings, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:x"),
        (GatewaySettings, "LEADERBOARD_SERVICE_URLS", "127.0.0.1:5000"),
        (GatewaySettings, "LEADERBOARD_SERVICE_URLS", "http://127.0.0.1:5000,http://127.0.0.1:x"),
        (GatewaySettings, "LEADERBOARD_SERVICE_URLS", "http://127.0.0.1:5000/v1"),
        (AuthSettings, "JWT_TTL_SECONDS", "-1"),
        (AuthSettings, "AUTH_REQUIRE_PASSWORD", "perhaps"),
    ],
)
def test_a_bad_value_is_refused_by_its_variables_name(group: type[Group], variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(group, {"JWT_SECRET": SECRET, variable: value})
    assert any(line.startswith(f"{variable}:") for line in str(caught.value).splitlines())


def complaint(group: type[Group], variable: str, value: str) -> str:
    """Return what is said against a value; '' when it is taken."""
    try:
        load(group, {variable: value})
    except SettingsError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("password", ["a/geh", "a#geh", "a[geh]", "a?geh", "a b geh"])
@pytest.mark.parametrize(
    ("variable", "url"),
    [("REDIS_URL", "redis://:{}@localhost:6379/0"), ("DATABASE_URL_EU", "postgresql://user:{}@localhost:5432/scores")],
)
def test_a_password_that_breaks_its_url_is_not_shown(variable: str, url: str, password: str) -> None:
    said = complaint(TopologySettings, variable, url.format(password))
    assert said.startswith(f"{variable}: ")
    assert "%2F" in said
    assert "geh" not in said
    assert complaint(TopologySettings, variable, url.format(quote(password, safe=""))) == ""


@given(
    st.text(st.characters(exclude_characters="\0"), max_size=60),
    st.sampled_from(["", "redis://", "postgresql://", "http://", "unix://"]),
)
def test_any_text_is_an_address_or_refused_by_its_variables_name(text: str, scheme: str) -> None:
    for group, variable in (
        (TopologySettings, "REDIS_URL"),
        (TopologySettings, "DATABASE_URL_EU"),
        (TopologySettings, "POSTGRES_HOST"),
        (GatewaySettings, "LEADERBOARD_SERVICE_URLS"),
        (TracingSettings, "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ):
        said = complaint(group, variable, scheme + text)
        assert not said or said.startswith(f"{variable}: ")


@pytest.mark.parametrize(
    ("host", "dsn"),
    [
        ("::1", "postgresql://postgres:postgres@[::1]:5432/leaderboard_eu"),
        ("[::1]", "postgresql://postgres:postgres@[::1]:5432/leaderboard_eu"),
        ("db_1.example.com", "postgresql://postgres:postgres@db_1.example.com:5432/leaderboard_eu"),
        ("/run/pg 17", "postgresql://postgres:postgres@/leaderboard_eu?host=/run/pg%2017&port=5432"),
    ],
)
def test_postgres_host_is_a_name_an_address_or_a_folder(host: str, dsn: str) -> None:
    assert load(TopologySettings, {"POSTGRES_HOST": host}).database_url_of("EU") == dsn


def test_every_wrong_variable_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        load(WorkerSettings, {"BATCH_SIZE": "x", "WORKER_TIMEOUT_SECONDS": "1"})
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "BATCH_SIZE",
        "WORKER_TIMEOUT_SECONDS",
    ]


def test_no_secret_shows_in_a_printed_group() -> None:
    shown = repr(load(AuthSettings, {"JWT_SECRET": SECRET})) + repr(
        load(TopologySettings, {"POSTGRES_PASSWORD": "hidden"})
    )
    assert SECRET not in shown
    assert "hidden" not in shown


def test_disks_of_replicas_are_asked_about_only_where_replicas_are_waited_for() -> None:
    with pytest.raises(SettingsError, match=r"REDIS_WAIT_FSYNC: .*set REDIS_WAIT_REPLICAS as well"):
        load(TopologySettings, {"REDIS_WAIT_FSYNC": "true"})
    assert load(TopologySettings, {"REDIS_WAIT_FSYNC": "true", "REDIS_WAIT_REPLICAS": "2"}).redis_wait_fsync
