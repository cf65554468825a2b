"""The table of settings: defaults, values, faults, secrets, the example file."""

import os
import re
from io import StringIO
from ipaddress import ip_network
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from aims_server.config.faults import SettingsError
from aims_server.config.loading import load_settings
from aims_server.config.settings import VARIABLES, Settings

from .outcomes import found

EXAMPLE = Path(__file__).parents[2] / "conf" / "aims-server.env.example"


# Every variable with its default, once more by hand: no default changes unnoticed.
CONTRACT = {
    "HOST": "127.0.0.1",
    "PORT": "3001",
    "EXTERNAL_API_BASE": "https://abes.platform.simplifii.com/api/v1",
    "EXTERNAL_API_ORIGIN": "https://abes.web.simplifii.com",
    "CORS_ORIGIN": "http://localhost:3000",
    "RATE_LIMIT_PER_MINUTE": "100",
    "RATE_LIMIT_PER_ADDRESS_PER_MINUTE": "3000",
    "LOGIN_LIMIT_PER_MINUTE": "10",
    "LOGIN_FAILURES_PER_ADDRESS_PER_MINUTE": "300",
    "REQUEST_TIMEOUT_SECONDS": "10",
    "MAX_CONCURRENT_REQUESTS": "100",
    "WORKERS": "0",
    "CACHE_TTL_SECONDS": "300",
    "CACHE_STALE_SECONDS": "1800",
    "CACHE_REFRESH_FLOOR_SECONDS": "30",
    "CACHE_MAX_MB": "64",
    "PREFETCH_ON_LOGIN": "true",
    "GATHER_TIMEOUT_SECONDS": "30",
    "ATTENDANCE_TARGET_PERCENT": "75",
    "EXTERNAL_API_PROXY": "",
    "EXTERNAL_API_CA_FILE": "",
    "WEB_PAGE": "false",
    "CONNECTIONS_PER_ADDRESS": "0",
    "STATUS_PAGE": "false",
    "CACHE_SHARED_MB": "64",
    "STORE_URL": "",
    "STORE_SECRET": "",
    "STORE_TIMEOUT_MS": "250",
    "STORE_CA_FILE": "",
    "TRUSTED_PROXIES": "",
    "METRICS_TOKEN": "",
    "LOG_LEVEL": "info",
    "LOG_FORMAT": "auto",
    "DRAIN_DELAY_SECONDS": "2",
    "SHUTDOWN_GRACE_SECONDS": "15",
}


BROKEN = [
    ("HOST", "127.0.0.999"),
    ("HOST", "-host"),
    ("HOST", "two words"),
    ("HOST", "[::1]"),
    ("HOST", ".".join(["label"] * 43)),  # of 257 characters
    ("PORT", "65536"),
    ("PORT", "-1"),
    ("PORT", "http"),
    ("PORT", "3001.0"),
    ("PORT", "3_001"),
    ("PORT", "٣٠٠١"),
    ("EXTERNAL_API_BASE", "abes.platform.simplifii.com/api/v1"),
    ("EXTERNAL_API_BASE", "ftp://platform.test/api"),
    ("EXTERNAL_API_BASE", "https:///api/v1"),
    ("EXTERNAL_API_BASE", "https://platform.test/api?x=1"),
    ("EXTERNAL_API_BASE", "https://platform.test/api#part"),
    ("EXTERNAL_API_BASE", "https://user@platform.test/api"),
    ("EXTERNAL_API_BASE", "https://platform.test:0/api"),
    ("EXTERNAL_API_BASE", "https://platform.test:99999/api"),
    ("EXTERNAL_API_BASE", "https://platform.test:/api"),
    ("EXTERNAL_API_BASE", "https://[::1/api"),
    ("EXTERNAL_API_BASE", "https://platform.test/a b"),
    ("EXTERNAL_API_BASE", "https://platform.test\\@other.test/"),
    ("EXTERNAL_API_ORIGIN", "https://web.test/login"),
    ("EXTERNAL_API_ORIGIN", "https://web.test/"),
    ("CORS_ORIGIN", "*"),
    ("CORS_ORIGIN", "null"),
    ("CORS_ORIGIN", "https://*.test"),
    ("CORS_ORIGIN", "https://one.test,,https://two.test"),
    ("CORS_ORIGIN", "https://one.test https://two.test"),
    ("CORS_ORIGIN", "https://one.test/path"),
    ("RATE_LIMIT_PER_MINUTE", "0"),
    ("RATE_LIMIT_PER_ADDRESS_PER_MINUTE", "1e3"),
    ("LOGIN_LIMIT_PER_MINUTE", "99999999999999999999"),
    ("REQUEST_TIMEOUT_SECONDS", "0"),
    ("REQUEST_TIMEOUT_SECONDS", "nan"),
    ("REQUEST_TIMEOUT_SECONDS", "inf"),
    ("REQUEST_TIMEOUT_SECONDS", "10s"),
    ("REQUEST_TIMEOUT_SECONDS", "1e1"),
    ("MAX_CONCURRENT_REQUESTS", "0"),
    ("WORKERS", "-2"),
    ("CACHE_TTL_SECONDS", "-0.1"),
    ("CACHE_STALE_SECONDS", "1,800"),
    ("CACHE_REFRESH_FLOOR_SECONDS", "."),
    ("CACHE_MAX_MB", "64MB"),
    ("PREFETCH_ON_LOGIN", "maybe"),
    ("GATHER_TIMEOUT_SECONDS", "0"),
    ("EXTERNAL_API_PROXY", "proxy.example"),
    ("EXTERNAL_API_PROXY", "ftp://proxy.example:3128"),
    ("EXTERNAL_API_PROXY", "http://proxy..example:3128"),
    ("EXTERNAL_API_PROXY", "http://:3128"),
    ("EXTERNAL_API_PROXY", "http://proxy.example"),
    ("EXTERNAL_API_PROXY", "http://proxy.example:3128/path"),
    ("EXTERNAL_API_PROXY", "http://proxy.example:3128?x"),
    ("EXTERNAL_API_PROXY", "http://proxy.example:3128#x"),
    ("EXTERNAL_API_PROXY", "http://user:two words@proxy.example:3128"),
    ("EXTERNAL_API_PROXY", "http://user:p@w@proxy.example:3128"),
    ("EXTERNAL_API_CA_FILE", __file__),
    ("TRUSTED_PROXIES", "10.0.0.0/33"),
    ("TRUSTED_PROXIES", "10.0.0.1/8"),
    ("TRUSTED_PROXIES", "proxy.test"),
    ("TRUSTED_PROXIES", "unix:/run/proxy.sock"),
    ("CONNECTIONS_PER_ADDRESS", "-1"),
    ("CONNECTIONS_PER_ADDRESS", "half"),
    ("CACHE_SHARED_MB", "all"),
    ("STORE_URL", "cache.example:6379"),
    ("STORE_URL", "http://cache.example"),
    ("STORE_SECRET", "short"),
    ("STORE_SECRET", "c2hvcnQ="),
    ("STORE_SECRET", "A" * 44 + "-" + "A" * 4),
    ("STORE_TIMEOUT_MS", "19"),
    ("STORE_CA_FILE", __file__),
    ("METRICS_TOKEN", "two words"),
    ("METRICS_TOKEN", "x" * 4097),
    ("LOG_LEVEL", "verbose"),
    ("LOG_FORMAT", "xml"),
    ("DRAIN_DELAY_SECONDS", "-1"),
    ("SHUTDOWN_GRACE_SECONDS", "3601"),
    ("HOST", "127.0.0.1\n"),
    ("LOG_LEVEL", "info\x1b[0m"),
    ("CORS_ORIGIN", "https://one.test\x00"),
    ("HOST", "plat\udce9.test"),
]


def faults_of(**mapping: str) -> tuple[str, ...]:
    """Give what from_mapping finds wrong with these variables."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_mapping(mapping)
    return caught.value.faults


def test_the_defaults_are_those_of_the_contract():
    """Every variable of the contract is there, with its default, and no other."""
    assert {row.name: row.default for row in VARIABLES} == CONTRACT


def test_effective_writes_the_defaults_as_the_contract_does():
    """What `check` prints of untouched settings is the table itself."""
    assert dict(Settings().effective()) == CONTRACT


def test_an_empty_value_means_the_default():
    """A variable set to nothing, or to blanks, is not a fault."""
    assert Settings.from_mapping(dict.fromkeys(CONTRACT, " ")) == Settings()


def test_values_are_parsed():
    """Each kind of value arrives as its own type."""
    settings = Settings.from_mapping(
        {
            "HOST": "127.0.0.1, ::1,127.0.0.1",
            "PORT": "0",
            "EXTERNAL_API_BASE": "http://Platform.test:8080/api/v1/",
            "EXTERNAL_API_PROXY": "http://me:s3cret@proxy.test:3128/",
            "CORS_ORIGIN": "https://One.test:443, http://[0:0::1]:5173,https://one.test",
            "REQUEST_TIMEOUT_SECONDS": "2.5",
            "PREFETCH_ON_LOGIN": "False",
            "TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.7,2001:db8::/32, unix",
            "METRICS_TOKEN": "s3cret",
            "LOG_LEVEL": "DEBUG",
        }
    )
    assert (settings.hosts, settings.port) == (("127.0.0.1", "::1"), 0)
    assert settings.external_api_base == "http://platform.test:8080/api/v1"
    assert settings.external_api_proxy == "http://me:s3cret@proxy.test:3128/"
    assert settings.cors_origins == ("https://one.test", "http://[::1]:5173")
    assert settings.request_timeout_seconds == 2.5
    assert settings.prefetch_on_login is False
    assert settings.trusted_proxies == (
        ip_network("10.0.0.0/8"),
        ip_network("192.0.2.7/32"),
        ip_network("2001:db8::/32"),
        "unix",
    )
    assert settings.metrics_token == "s3cret"
    assert settings.log_level == "debug"


@pytest.mark.parametrize("name", ["EXTERNAL_API_CA_FILE", "STORE_CA_FILE"])
def test_a_file_that_cannot_be_read_is_told_as_such(name):
    """The service is another user than whoever looks into the file, which is right."""
    (fault,) = faults_of(**{name: "/does/not/exist.pem"})
    assert fault.endswith("of certificates in PEM form (No such file or directory)")


def test_a_pipe_is_no_file_of_certificates(tmp_path):
    """A pipe is refused: reading one could block for ever."""
    os.mkfifo(tmp_path / "authorities.pem")
    (fault,) = faults_of(EXTERNAL_API_CA_FILE=str(tmp_path / "authorities.pem"))
    assert fault.endswith("must be a file of certificates in PEM form")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:a00:1", "10.0.0.1/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
    ],
)
def test_a_proxy_of_ipv4_may_be_written_as_ipv6(written, meant):
    """IPv4 in IPv6 form is taken, as dual-stack sockets and proxies' logs show it."""
    (proxy,) = Settings.from_mapping({"TRUSTED_PROXIES": written}).trusted_proxies
    assert proxy == ip_network(meant)


@pytest.mark.parametrize(("name", "value"), BROKEN)
def test_a_broken_value_is_one_fault(name, value):
    """A fault is one line that names the variable and what is allowed."""
    (fault,) = faults_of(**{name: value})
    allowed = next(row.parser.allowed for row in VARIABLES if row.name == name)
    assert fault.startswith(f"{name}=")
    assert fault.endswith(f": must be {allowed}")
    assert fault.isprintable()


def test_a_fault_shows_the_value():
    """The fault shows what was written."""
    assert faults_of(PORT="70000") == (
        "PORT='70000': must be a whole number from 0 to 65535",
    )


@pytest.mark.parametrize("password", ["p/w", "p@w"])
def test_a_password_that_must_be_written_otherwise_is_said_so(password):
    """It is masked, and the rest of the URL is right: one would look at it in vain."""
    (fault,) = faults_of(STORE_URL=f"redis://:{password}@cache.example")
    assert "STORE_URL='redis://***@cache.example'" in fault
    assert "/ and @ in a password as %2F and %40" in fault


def test_all_faults_come_at_once():
    """One start shows every fault, in the order of the table."""
    broken = dict(BROKEN)
    found = [fault.split("=")[0] for fault in faults_of(**broken)]
    assert found == [name for name in CONTRACT if name in broken]


def test_more_workers_than_calls_is_a_fault():
    """Each worker needs at least one of the platform calls."""
    (fault,) = faults_of(WORKERS="8", MAX_CONCURRENT_REQUESTS="4")
    assert fault.startswith("WORKERS='8': must be at most MAX_CONCURRENT_REQUESTS")


def test_a_store_without_its_secret_is_a_fault():
    """What is kept in it could be read."""
    faults = faults_of(STORE_URL="redis://127.0.0.1")
    assert faults == ("STORE_SECRET: must be set where STORE_URL is",)


def test_gathering_may_not_end_before_a_request():
    """An asker would wait longer than what it waits for."""
    (fault,) = faults_of(GATHER_TIMEOUT_SECONDS="9")
    assert fault == (
        "GATHER_TIMEOUT_SECONDS='9': must be at least REQUEST_TIMEOUT_SECONDS,"
        " which is 10"
    )


def test_a_disagreement_is_judged_on_good_values_only():
    """A broken value brings its own fault and none by comparison."""
    assert len(faults_of(WORKERS="200", MAX_CONCURRENT_REQUESTS="lots")) == 1


@pytest.mark.parametrize("blank", [{}, {"GATHER_TIMEOUT_SECONDS": " "}])
def test_what_is_not_given_is_no_fault_beside_another(blank):
    """REQUEST_TIMEOUT_SECONDS is raised alone, and what else is wrong says nothing of
    GATHER_TIMEOUT_SECONDS, which nobody has set.
    """
    (fault,) = faults_of(PORT="x", REQUEST_TIMEOUT_SECONDS="60", **blank)
    assert fault.startswith("PORT=")
    settings = Settings.from_mapping({"REQUEST_TIMEOUT_SECONDS": "60", **blank})
    assert settings.gather_timeout_seconds == 60


@pytest.mark.parametrize(
    "address",
    [
        "https://user:canary@platform.test/api",
        "https://user:c//canary@platform.test",
        "user:canary@platform.test",
        "https://one.test,https://user:canary@two.test",
        "https://user:x\ncanary@platform.test",
        "https://platform.test/?token=canary",
        "https://platform.test/#canary",
    ],
)
@pytest.mark.parametrize("name", ["EXTERNAL_API_BASE", "CORS_ORIGIN"])
def test_a_fault_hides_the_secret_of_an_address(name, address):
    """What stands before @ or after ? in a broken address is masked."""
    (fault,) = faults_of(**{name: address})
    shown = fault.split(": must be")[0]
    assert "***" in shown
    assert "canary" not in shown
    assert "user" not in shown


@pytest.mark.parametrize(
    ("name", "written", "shown"),
    [
        ("STORE_URL", "canary:canary", "canary:***"),
        ("STORE_URL", "redis:canary", "redis:***"),
        ("EXTERNAL_API_PROXY", "socks5h://me:canary", "socks5h://me:***"),
        ("EXTERNAL_API_PROXY", "http://me:0canary/x", "http://me:***"),
        ("EXTERNAL_API_BASE", "ftp://h:80/x", "ftp://h:80/x"),
        ("STORE_URL", "redis://one:1,two:2", "redis://one:1,two:2"),
        ("HOST", "::zz", "::zz"),
    ],
)
def test_a_fault_hides_what_stands_for_a_port(name, written, shown):
    """Without a host the password of an address stands where a port should."""
    (fault,) = faults_of(**{name: written})
    assert fault.startswith(f"{name}={shown!r}: must be ")


def test_a_fault_shows_the_item_of_a_list():
    """Of many items the wrong one is shown, which might be far behind."""
    good = ",".join(f"https://site-{n}.example.org" for n in range(20))
    (fault,) = faults_of(CORS_ORIGIN=f"{good}, https://odd.example.org/,null")
    assert fault.startswith("CORS_ORIGIN='https://odd.example.org/': must be origins")
    (fault,) = faults_of(HOST="127.0.0.1,")
    assert fault.startswith("HOST='127.0.0.1,': must be ")


def test_a_fault_hides_a_secret_variable():
    """A broken METRICS_TOKEN is named and not shown."""
    (fault,) = faults_of(METRICS_TOKEN="canary with blanks")
    assert fault.startswith("METRICS_TOKEN=***: must be")


def test_effective_and_repr_hide_the_metrics_token():
    """No way of printing settings prints a secret."""
    settings = Settings.from_mapping({"METRICS_TOKEN": "canary"})
    assert dict(settings.effective())["METRICS_TOKEN"] == "***"
    assert "canary" not in repr(settings)


def test_effective_hides_credentials_in_an_address():
    """Even settings made past the parser do not show a user name and password."""
    settings = Settings(external_api_base="https://user:canary@platform.test/api")
    shown = dict(settings.effective())["EXTERNAL_API_BASE"]
    assert shown == "https://***@platform.test/api"


def test_effective_can_be_read_back():
    """What `check` prints of secret-free settings gives the same settings again."""
    settings = Settings.from_mapping(
        {
            "CORS_ORIGIN": "https://one.test,https://two.test",
            "TRUSTED_PROXIES": "10.0.0.0/8,2001:db8::/32",
            "CACHE_TTL_SECONDS": "0.25",
            "PREFETCH_ON_LOGIN": "false",
        }
    )
    assert Settings.from_mapping(dict(settings.effective())) == settings


def test_workers_zero_is_one_per_cpu():
    """WORKERS=0 asks for the CPUs that this process may use."""
    assert Settings().effective_workers == len(os.sched_getaffinity(0))
    assert Settings(workers=7).effective_workers == 7


def test_workers_never_outnumber_the_calls():
    """On a machine with many CPUs a small call limit also limits the workers."""
    settings = Settings.from_mapping({"MAX_CONCURRENT_REQUESTS": "1"})
    assert settings.effective_workers == 1


@given(value=st.text(max_size=80), name=st.sampled_from(list(CONTRACT)))
def test_no_value_gives_anything_but_settings_or_one_fault(name, value):
    """Whatever a variable holds, it is taken, or refused in one printable line."""
    faults = found(Settings.from_mapping, {name: value})
    assert len(faults) <= 1
    assert all(fault.isprintable() for fault in faults)


def test_the_example_file_is_the_table():
    """Each variable stands there with its meaning, what is allowed, and its default."""
    blocks = EXAMPLE.read_text(encoding="utf-8").split("\n\n")[1:]
    assert [block.rstrip() for block in blocks] == [
        f"# {row.meaning}\n# Allowed: {row.parser.allowed}.\n#{row.name}={row.default}"
        for row in VARIABLES
    ]


def test_the_example_file_sets_nothing_by_itself():
    """Copied as it is, it changes nothing; a line that is set gives the default."""
    assert dotenv_values(EXAMPLE, interpolate=False) == {}
    settable = re.sub("(?m)^#(?=[A-Z_]+=)", "", EXAMPLE.read_text(encoding="utf-8"))
    assert dotenv_values(stream=StringIO(settable), interpolate=False) == CONTRACT


def test_the_example_file_means_the_same_to_systemd():
    """No assignment has a sign that dotenv and EnvironmentFile= read differently."""
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(r"|# .*|#|#[A-Z_]+=[A-Za-z0-9:/.,_-]*", line), line


@pytest.mark.parametrize(
    ("written", "nearest"),
    [
        ("PROT", "PORT"),
        ("WORKER", "WORKERS"),
        ("log_level", "LOG_LEVEL"),
        ("Rate_Limit_Per_Minute", "RATE_LIMIT_PER_MINUTE"),
        ("another_programs_name", "CACHE_MAX_MB"),
        ("Debug", "WEB_PAGE"),
    ],
)
def test_a_misspelt_name_in_a_file_is_a_fault(tmp_path, written, nearest):
    """It is told with the nearest name that exists, and never with its value."""
    (tmp_path / ".env").write_text(f"{written}=secret-canary\n")
    (fault,) = found(load_settings, tmp_path, {})
    assert fault.endswith(f"'{written}': no such variable; the nearest is {nearest}")
    assert "canary" not in fault
