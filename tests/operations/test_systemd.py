"""The systemd units, as systemd's own analysers see them."""

import shutil
from pathlib import Path

from aims_server.config.settings import Settings

from .programs import ROOT, accepted_by, unit

SYSTEMD = ROOT / "systemd"


def test_the_hardening_reaches_the_promised_exposure():
    """systemd rates the service's exposure at 2.0 or less of 10."""
    accepted_by(
        "systemd-analyze",
        *("security", "--offline=true", "--no-pager", "--threshold=20"),
        SYSTEMD / "aims-server.service",
    )


def test_the_units_are_clean(tmp_path: Path):
    """systemd finds nothing to say against the units."""
    shutil.copy(SYSTEMD / "aims-server.socket", tmp_path)
    service = (SYSTEMD / "aims-server.service").read_text()
    # verify asks whether the program exists, which it does only where it is installed
    installed = service.replace("/opt/aims-server/bin/aims-server", "/bin/sh")
    assert installed != service
    (tmp_path / "aims-server.service").write_text(installed)
    said = accepted_by(
        "systemd-analyze",
        *("verify", "--man=no"),
        tmp_path / "aims-server.service",
        tmp_path / "aims-server.socket",
    )
    assert said == ""


def test_systemd_waits_longer_than_draining_takes():
    """A stop by systemd never cuts a drain short that keeps to the defaults."""
    defaults = Settings.from_mapping({})
    draining = defaults.drain_delay_seconds + defaults.shutdown_grace_seconds
    assert int(unit("aims-server.service")["TimeoutStopSec"][0]) > draining + 5


def test_the_socket_is_where_the_settings_say():
    """With and without the socket unit the service is found at the same address."""
    defaults = Settings.from_mapping({})
    assert unit("aims-server.socket")["ListenStream"] == [
        f"{defaults.hosts[0]}:{defaults.port}"
    ]
