"""STORE_URL: what it may be, and that its password is never shown."""

import pytest

from aims_server.primitives.store_url import StoreAddress


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("redis://127.0.0.1", {"hosts": (("127.0.0.1", 6379),)}),
        ("valkey://cache.example:65535", {"hosts": (("cache.example", 65535),)}),
        ("rediss://h/3", {"hosts": (("h", 6379),), "tls": True, "database": 3}),
        ("valkeys://h", {"hosts": (("h", 6379),), "tls": True}),
        ("redis://[::1]:7000", {"hosts": (("::1", 7000),)}),
        (
            "redis://app:p%40ss@h",
            {"hosts": (("h", 6379),), "user": "app", "password": "p@ss"},
        ),
        ("redis://:pw@h", {"hosts": (("h", 6379),), "password": "pw"}),
        ("unix:///run/valkey.sock", {"path": "/run/valkey.sock"}),
        ("unix:///s", {"path": "/s"}),
        (
            "unix://app:pw@/run/valkey.sock",
            {"path": "/run/valkey.sock", "user": "app", "password": "pw"},
        ),
        (
            "rediss+sentinel://h1,h2:1,h3/main/2",
            {
                "hosts": (("h1", 26379), ("h2", 1), ("h3", 26379)),
                "sentinel": "main",
                "tls": True,
                "database": 2,
            },
        ),
    ],
)
def test_urls(url, parts):
    """Every form that the contract names is read."""
    assert StoreAddress.parse(url) == StoreAddress(**parts)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h:6379",
        "http://h",
        "redis://",
        "redis://h:0",
        "redis://h:65536",
        "redis://h/x",
        "redis://h/1/2",
        "redis://h?db=1",
        "redis://a b",
        "redis://h1,h2",
        "unix://",
        "unix:///",
        "unix://host/path",
        "unixs:///path",
        "unix+sentinel:///path",
        "redis+sentinel://h1,h2",
        "redis+sentinel://h1,,h2/main",
    ],
)
def test_what_is_no_url_of_a_store(url):
    """Everything else is refused."""
    with pytest.raises(ValueError, match=r"^no"):
        StoreAddress.parse(url)


@pytest.mark.parametrize("secrets", ["app:hunter2", ":hunter2", "app"])
@pytest.mark.parametrize(
    "url",
    [
        "redis://***@h:6379/0",
        "rediss://h:6379/3",
        "unix:///run/valkey.sock",
        "redis://[::1]:7000/0",
        "rediss+sentinel://h1:26379,h2:1/main/2",
    ],
)
def test_it_is_shown_without_secrets(url, secrets):
    """An address is shown as a URL that says everything but user and password."""
    shown = StoreAddress.parse(url.replace("***", secrets))
    assert str(shown) == repr(shown) == url
