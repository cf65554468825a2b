"""Settings out of the environment and a file, and what is doubted in them."""

import base64
import os
import socket

import certifi
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from aims_server.config import dotenv
from aims_server.config.doubts import warnings_of
from aims_server.config.faults import SettingsError
from aims_server.config.loading import load_settings
from aims_server.config.settings import Settings

from .outcomes import found

SECRET = base64.b64encode(bytes(32)).decode()
CA_FILE = certifi.where()
_NOBODY = 65534


def test_plain_http_off_loopback_is_warned_about():
    """Tokens over plain http are worth a word, on loopback they are not."""
    far = Settings.from_mapping({"EXTERNAL_API_BASE": "http://platform.test/api"})
    (warning,) = warnings_of(far)
    assert "plain http" in warning
    for near in ("http://127.0.0.1:9/api", "http://localhost:9", "http://[::1]:9"):
        assert not list(warnings_of(Settings.from_mapping({"EXTERNAL_API_BASE": near})))


@pytest.mark.parametrize(
    ("variable", "mapping"),
    [
        ("METRICS_TOKEN", {"HOST": "0.0.0.0"}),
        ("METRICS_TOKEN", {"STATUS_PAGE": "true"}),
        ("TRUSTED_PROXIES", {"TRUSTED_PROXIES": "10.0.0.0/8,::/0"}),
        ("CACHE_REFRESH_FLOOR_SECONDS", {"CACHE_TTL_SECONDS": "29"}),
        ("SHUTDOWN_GRACE_SECONDS", {"SHUTDOWN_GRACE_SECONDS": "9"}),
        (
            "STORE_URL",
            {
                "STORE_URL": "redis+sentinel://one.example,two.example/main",
                "STORE_SECRET": SECRET,
            },
        ),
        (
            "STORE_URL",
            {"STORE_URL": "redis://password@127.0.0.1", "STORE_SECRET": SECRET},
        ),
        ("STORE_SECRET", {"STORE_SECRET": SECRET}),
        ("STORE_CA_FILE", {"STORE_CA_FILE": CA_FILE}),
        (
            "STORE_CA_FILE",
            {
                "STORE_URL": "redis://127.0.0.1",
                "STORE_SECRET": SECRET,
                "STORE_CA_FILE": CA_FILE,
            },
        ),
        (
            "EXTERNAL_API_CA_FILE",
            {
                "EXTERNAL_API_BASE": "http://127.0.0.1:9",
                "EXTERNAL_API_CA_FILE": CA_FILE,
            },
        ),
        ("EXTERNAL_API_BASE", {"EXTERNAL_API_BASE": "http://localhost:3001/api"}),
        (
            "EXTERNAL_API_BASE",
            {"EXTERNAL_API_BASE": "http://localhost/api", "PORT": "80"},
        ),
        ("RATE_LIMIT_PER_MINUTE", {"RATE_LIMIT_PER_MINUTE": "3001"}),
    ],
)
def test_what_is_hardly_meant_is_warned_about(variable, mapping):
    """A doubtful setting starts all the same and is named in a warning."""
    (warning,) = warnings_of(Settings.from_mapping(mapping))
    assert warning.startswith(f"{variable}: ")


@pytest.mark.parametrize(
    "mapping",
    [
        {"HOST": "0.0.0.0", "METRICS_TOKEN": "s3cret"},
        {"STATUS_PAGE": "true", "METRICS_TOKEN": "s3cret"},
        {"TRUSTED_PROXIES": "unix,10.0.0.0/8"},
        {"EXTERNAL_API_BASE": "http://platform.localhost:9"},
        {"EXTERNAL_API_CA_FILE": CA_FILE},
        {
            "STORE_URL": "rediss://me:password@store.example",
            "STORE_SECRET": SECRET,
            "STORE_CA_FILE": CA_FILE,
        },
    ],
)
def test_what_is_meant_is_not_warned_about(mapping):
    """A warning without a reason hides those that have one."""
    assert not list(warnings_of(Settings.from_mapping(mapping)))


def own_address() -> str:
    """This machine's, as it would be seen by another one. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.2"  # no network: loopback is all there is
        name: tuple[str, int] = probe.getsockname()
        return name[0]


@pytest.mark.parametrize(
    ("hosts", "platform", "itself"),
    [
        ("127.0.0.1", "localhost:3001", True),
        ("localhost", "127.0.0.1:3001", True),
        ("127.0.0.1", "127.0.0.1", False),
        ("127.0.0.1", "127.0.0.1:3002", False),
        ("10.0.0.5", "127.0.0.1:3001", False),
        ("10.0.0.5", "10.0.0.5:3001", True),
        ("college.example", "College.example:3001", True),
        ("127.0.0.1,fd00::5", "[fd00:0::5]:3001", True),
        ("0.0.0.0", "127.0.0.1:3001", True),
        ("0.0.0.0", f"{own_address()}:3001", True),
        ("0.0.0.0", "203.0.113.7:3001", False),
        ("0.0.0.0", "college.example:3001", False),
        ("0.0.0.0", "[::1]:3001", False),
    ],
)
def test_a_platform_that_is_the_service_itself_is_warned_about(hosts, platform, itself):
    """Every address of HOST at this port is warned about, and no other."""
    mapping = {"HOST": hosts, "EXTERNAL_API_BASE": f"http://{platform}/api"}
    warnings = list(warnings_of(Settings.from_mapping(mapping)))
    assert any("leads to this service itself" in text for text in warnings) == itself


def test_the_defaults_give_no_warning():
    """A fresh checkout starts without a word."""
    assert list(warnings_of(Settings())) == []


def test_the_file_is_read_from_the_directory(tmp_path):
    """The `.env` of the given directory counts, and which one it was is told."""
    (tmp_path / ".env").write_text("PORT=4000\nexport LOG_LEVEL='debug' # why\n")
    settings, source, _ = load_settings(tmp_path, {})
    assert (settings.port, settings.log_level) == (4000, "debug")
    assert source == tmp_path / ".env"


def test_parent_directories_are_not_searched(tmp_path):
    """A `.env` further up is somebody else's."""
    (tmp_path / ".env").write_text("PORT=4000\n")
    (tmp_path / "sub").mkdir()
    assert load_settings(tmp_path / "sub", {}) == (Settings(), None, ())


def test_the_environment_wins(tmp_path):
    """A variable set in both places has the environment's value."""
    (tmp_path / ".env").write_text("PORT=4000\nWORKERS=2\n")
    settings = load_settings(tmp_path, {"PORT": "5000", "HOME": "/"}).settings
    assert (settings.port, settings.workers) == (5000, 2)


def test_an_empty_environment_variable_wins_too(tmp_path):
    """An empty variable brings the default back, whatever the file says."""
    (tmp_path / ".env").write_text("PORT=4000\n")
    settings = load_settings(tmp_path, {"PORT": ""}).settings
    assert settings.port == 3001


def test_nothing_is_expanded_in_the_file(tmp_path):
    """`${NAME}` is text: it can never mean two things."""
    (tmp_path / ".env").write_text("LOG_LEVEL=debug\nHOST=${LOG_LEVEL}\n")
    with pytest.raises(SettingsError, match=r"HOST='\$\{LOG_LEVEL\}'"):
        load_settings(tmp_path, {"LOG_LEVEL": "info"})


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    """A file saved by an editor that marks UTF-8 is read like any other."""
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfPORT=4000\r\n")
    assert load_settings(tmp_path, {}).settings.port == 4000


def test_a_file_that_is_no_text_is_a_fault(tmp_path):
    """Bytes that are not UTF-8 stop the start in one line."""
    (tmp_path / ".env").write_bytes(b"PORT=\xff\xfe")
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path, {})
    assert caught.value.faults == (f"{tmp_path / '.env'}: must be text in UTF-8",)


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path):
    """A directory in the file's place stops the start in one line."""
    (tmp_path / ".env").mkdir()
    with pytest.raises(SettingsError, match=r"\.env: cannot be read: Is a directory"):
        load_settings(tmp_path, {})


def test_a_directory_that_may_not_be_searched_is_a_fault(tmp_path):
    """It is one fault in the settings, so that a SIGHUP ends nothing."""
    tmp_path.chmod(0)
    user = os.geteuid()
    os.seteuid(user or _NOBODY)
    try:
        file = dotenv.read(tmp_path / ".env")
    finally:
        os.seteuid(user)
        tmp_path.chmod(0o700)
    assert file is not None
    assert file.faults == (f"{tmp_path}/.env: cannot be read: Permission denied",)


def test_a_link_that_leads_nowhere_is_a_fault(tmp_path):
    """Somebody meant a file, and the service must not start without it."""
    (tmp_path / ".env").symlink_to(tmp_path / "settings")
    with pytest.raises(SettingsError, match="it leads to a file that is not there"):
        load_settings(tmp_path, {})


def test_a_link_to_a_file_is_read(tmp_path):
    """The file may be kept elsewhere."""
    (tmp_path / "settings").write_text("PORT=4000\n")
    (tmp_path / ".env").symlink_to(tmp_path / "settings")
    assert load_settings(tmp_path, {}).settings.port == 4000


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_a_file_that_never_ends_is_a_fault(tmp_path, kind):
    """A pipe or a device in the file's place keeps no start waiting."""
    path = tmp_path / ".env"
    os.mkfifo(path) if kind == "fifo" else path.symlink_to("/dev/zero")
    with pytest.raises(SettingsError, match=r"\.env: cannot be read: Not a regular"):
        load_settings(tmp_path, {})


def test_a_broken_line_is_a_fault_without_its_text(tmp_path):
    """A line that is no assignment is named by number, since it may hold a secret."""
    (tmp_path / ".env").write_text("PORT=0\nMETRICS_TOKEN 'canary\nWORKERS\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path, {})
    assert [fault.split(": ")[1] for fault in caught.value.faults] == [
        "line 2",
        "line 3",
    ]
    assert "canary" not in str(caught.value)


def test_a_fault_stands_in_the_line_that_it_names(tmp_path):
    """Blank lines before it are not part of it."""
    (tmp_path / ".env").write_text("PORT=0\n\n\nWORKERS\n")
    with pytest.raises(SettingsError, match="line 4: must be NAME=value"):
        load_settings(tmp_path, {})


def test_a_name_that_is_set_twice_is_warned_about(tmp_path):
    """The last one counts, as with EnvironmentFile=; the warning names all lines."""
    text = "PORT=1\n\n# why\nWORKERS=1\nPORT='2'\nexport PORT=3\n"
    (tmp_path / ".env").write_text(text)
    loaded = load_settings(tmp_path, {})
    assert loaded.settings.port == 3
    assert loaded.warnings == (
        f"{tmp_path / '.env'}: PORT is set in lines 1, 5 and 6; the last one counts",
    )


def test_faults_of_file_and_values_come_together(tmp_path):
    """A broken line does not hide a broken value, in the file or the environment."""
    (tmp_path / ".env").write_text("PORT=none\n=\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path, {"WORKERS": "many"})
    assert [fault.split("=")[0] for fault in caught.value.faults][1:] == [
        "PORT",
        "WORKERS",
    ]


@pytest.mark.parametrize("rest", ["dkVyeVNlY3JldENhbmFyeQ==", "x9/QkNhbmFyeQ+z="])
def test_a_secret_of_two_lines_is_a_fault_without_its_text(tmp_path, rest):
    """The second line of base64 reads as an assignment, whose name is secret."""
    (tmp_path / ".env").write_text(f"METRICS_TOKEN={'a' * 64}\n{rest}\n")
    (fault,) = found(load_settings, tmp_path, {})
    assert fault.startswith(f"{tmp_path / '.env'}: line 2: no such variable (")
    assert rest.rstrip("=") not in fault


@given(content=st.binary(max_size=200))
@hypothesis_settings(max_examples=200)
def test_no_file_gives_anything_but_settings_or_faults(tmp_path_factory, content):
    """No content of a file gives a traceback."""
    directory = tmp_path_factory.mktemp("any", numbered=True)
    (directory / ".env").write_bytes(content)
    assert all("\n" not in fault for fault in found(load_settings, directory, {}))


def test_a_strange_name_in_the_environment_is_none_of_our_business(tmp_path):
    """The environment holds other programs' variables too."""
    assert found(load_settings, tmp_path, {"PROT": "3002"}) == ()
