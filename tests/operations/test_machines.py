"""The compose file of two services with a store: read, since no engine runs here."""

import shutil
import subprocess

import yaml

from aims_server.config.settings import VARIABLES

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


def test_the_stores_user_is_that_of_conf():
    """The same commands and keys in both places."""
    command = COMPOSE["services"]["valkey"]["command"]
    user = command[command.index("default off") + 2]
    _, written = (ROOT / "conf" / "valkey-users.acl").read_text().splitlines()
    assert user.split()[3:] == written.split()[4:]


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
