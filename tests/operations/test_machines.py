"""The compose file of two services with a store: read, since no engine runs here, but
for the store's command and nginx's file, which are tried.
"""

import shutil
import subprocess

import pytest
import yaml

from aims_server.config.settings import VARIABLES
from aims_server.primitives import StoreAddress
from aims_server.store import inspect

from ..store.server import StoreServer
from .programs import ROOT


class Loader(yaml.SafeLoader):
    """YAML with compose's own tag."""


Loader.add_constructor("!reset", lambda loader, node: None)
COMPOSE = yaml.load((ROOT / "compose.machines.yml").read_text(), Loader)


def test_both_services_are_given_the_same_store():
    """Address and secret are variables that exist, and equal."""
    first, second = (COMPOSE["services"][f"aims-server{n}"] for n in ("", "-2"))
    assert first["environment"] == second["environment"]
    assert set(first["environment"]) <= {variable.name for variable in VARIABLES}
    assert second["extends"] == {"file": "compose.yml", "service": "aims-server"}


@pytest.mark.process
@pytest.mark.gen_test
async def test_the_store_starts_and_its_user_may_do_what_we_do(tmp_path):
    """The command of the container, with a real server; its user is that of conf/."""
    _, *options = COMPOSE["services"]["valkey"]["command"]
    _, written = (ROOT / "conf" / "valkey-users.acl").read_text().splitlines()
    assert options[options.index("aims") + 3 :] == written.split()[4:]
    options = [option.replace("${STORE_PASSWORD:?}", "good") for option in options]
    store = StoreServer(tmp_path, *options).start(ready=b"-NOAUTH")
    try:
        address = StoreAddress.parse(store.url.replace("://", "://aims:good@"))
        _, doubts = await inspect(address)
    finally:
        store.kill()
    assert doubts == []


def test_nginx_accepts_its_file(tmp_path):
    """``nginx -t`` finds no fault."""
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    text = (ROOT / "conf" / "nginx-machines.conf").read_text()
    path = tmp_path / "nginx.conf"
    path.write_text(
        text.replace("aims-server-2:", "127.0.0.2:")
        .replace("aims-server:", "127.0.0.1:")
        .replace("/tmp/", f"{tmp_path}/")
    )
    said = subprocess.run(
        [nginx, "-t", "-c", str(path), "-p", str(tmp_path)],
        capture_output=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr.decode()
