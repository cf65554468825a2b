"""What is done to the service inside the small machine, and what came of it.

Run there by systemd; writes its findings as JSON for test_under_systemd.py to judge.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event, Thread
from typing import Any

URL = "http://127.0.0.1:3001"
SERVICE = "aims-server.service"
SOCKET = "aims-server.socket"
ENVIRONMENT = Path("/etc/aims-server/aims-server.env")
SOURCE = Path("/opt/source")
RUNBOOKS = [
    *(SOURCE / "docs" / name for name in ("operations.rst", "faults-and-logs.rst")),
    SOURCE / "conf" / "alerts.yml",
]
COMMAND = re.compile(
    r"`((?:curl -s|systemctl (?:status|reload|reset-failed|start)|journalctl -u"
    r"|aims-server) [^`]+)`"
)
# What the first runbook has an operator type before them.
BEGINNING = re.compile(r"^    PATH=.*\n    cd /etc/aims-server.*", re.MULTILINE)
# Commands of the runbooks that are not for a service that runs.
ELSEWHERE = ("aims-server demo", "aims-server files", "aims-server serve")
facts: dict[str, Any] = {}


def systemctl(*arguments: str) -> str:
    """What systemctl says, its exit status aside."""
    done = subprocess.run(
        ["systemctl", "--no-pager", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return (done.stdout + done.stderr).strip()


def shown(*properties: str, unit: str = SERVICE) -> dict[str, str]:
    """Properties of a unit."""
    lines = systemctl("show", unit, *(f"-p{name}" for name in properties))
    return dict(line.split("=", 1) for line in lines.splitlines())


def until(true: Callable[[], object], seconds: float = 60) -> bool:
    """Wait for it; whether it came."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return False


def status(path: str, token: str = "", body: bytes | None = None) -> tuple[int, Any]:
    """Status and JSON of one request; status 0 when there is no answer."""
    request = urllib.request.Request(URL + path, body)
    request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, None
    except OSError as failure:
        return 0, repr(failure)


def healthy() -> bool:
    """Whether /health says 200."""
    return status("/health")[0] == 200


def active() -> bool:
    """Whether systemd counts the service as started."""
    return shown("ActiveState")["ActiveState"] == "active"


def parent() -> int:
    """The process id of the service's parent process."""
    return int(shown("MainPID")["MainPID"])


def workers() -> list[int]:
    """The process ids of its workers."""
    pid = parent()
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in children.read_text().split()] if pid else []


def steady_clients(during: Callable[[], object]) -> dict[str, int]:
    """How often each status came while ``during`` ran, on fresh connections."""
    stop = Event()
    counts: dict[str, int] = {}

    def ask() -> None:
        while not stop.is_set():
            code, why = status("/health/live")
            key = str(code or why)
            counts[key] = counts.get(key, 0) + 1
            time.sleep(0.005)

    clients = [Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    during()
    stop.set()
    for client in clients:
        client.join()
    return counts


def visit(platform: dict[str, Any]) -> None:
    """Everything, in order."""
    ENVIRONMENT.write_text(f"EXTERNAL_API_BASE={platform['url']}\nWORKERS=2\n")
    ENVIRONMENT.chmod(0o600)

    # With its socket, reading a file that its own user could not open.
    systemctl("start", SOCKET)
    systemctl("start", SERVICE)
    facts["started"] = shown("ActiveState", "StatusText", "User", "UID", "NRestarts")
    process = Path(f"/proc/{workers()[0]}/status").read_text()
    facts["process"] = dict(line.split(":\t", 1) for line in process.splitlines())

    # Real work under all of the hardening: curl, JSON, shared memory, the fan-out.
    login = json.dumps(platform["credentials"][0]).encode()
    code, answer = status("/api/login", body=login)
    facts["login"] = code
    token = answer["token"] if code == 200 else ""
    code, page = status("/api/all-attendance", token)
    facts["page"] = [code, len(page["subjects"]) if code == 200 else 0]

    # A worker that dies is the parent's business, not systemd's.
    before = workers()
    os.kill(before[0], signal.SIGKILL)
    facts["worker replaced"] = until(
        lambda: len(workers()) == 2 and before[0] not in workers()
    )

    # Reload: other workers, settings that may be changed so, and no answer missing.
    Path("/etc/aims-server/.env").write_text("RATE_LIMIT_PER_MINUTE=7\n")
    before, elder = workers(), parent()

    def reload() -> None:
        systemctl("reload", SERVICE)
        until(lambda: len(workers()) == 2 and not set(workers()) & set(before))

    facts["reload"] = steady_clients(reload)
    facts["reloaded"] = {
        "same parent": parent() == elder,
        "new workers": len(set(workers()) - set(before)),
        "active": until(active),
    }

    # A reload with a wrong setting fails, and changes nothing.
    Path("/etc/aims-server/.env").write_text("RATE_LIMIT_PER_MINUTE=7\nWORKERS=many\n")
    ENVIRONMENT.write_text(f"EXTERNAL_API_BASE={platform['url']}\n")
    before = workers()
    facts["wrong reload"] = {
        "failed": "failed" in systemctl("reload", SERVICE),
        "same workers": workers() == before,
        "status": status("/health")[0],
    }
    Path("/etc/aims-server/.env").write_text("RATE_LIMIT_PER_MINUTE=7\n")

    # A reload after an upgrade says that it is not enough.
    program = Path("/opt/source/aims_server/process/reloading.py")
    upgraded = program.with_suffix(".new")
    upgraded.write_text(program.read_text())
    upgraded.rename(program)
    before = workers()
    systemctl("reload", SERVICE)
    until(lambda: len(workers()) == 2 and not set(workers()) & set(before))
    until(active)
    facts["upgraded"] = shown("StatusText")
    ENVIRONMENT.write_text(f"EXTERNAL_API_BASE={platform['url']}\nWORKERS=2\n")

    # Restart: connections wait in the socket that systemd holds.
    facts["restart"] = steady_clients(lambda: systemctl("restart", SERVICE))
    facts["restarted"] = parent() != elder

    # A parent that hangs no longer feeds the watchdog.
    elder = parent()
    os.kill(elder, signal.SIGSTOP)
    facts["watchdog"] = until(lambda: parent() not in (0, elder) and active())
    facts["watched"] = [shown("NRestarts")["NRestarts"], healthy()]

    # A stop is clean, and leaves nothing.
    systemctl("stop", SOCKET, SERVICE)
    facts["stopped"] = shown("ActiveState", "Result", "ExecMainStatus")

    # Without its socket it binds the port itself.
    systemctl("start", SERVICE)
    facts["alone"] = [shown("ActiveState", unit=SOCKET)["ActiveState"], healthy()]
    systemctl("stop", SERVICE)

    # Under the socket a wrong setting stops once, though clients go on asking.
    ENVIRONMENT.write_text(f"EXTERNAL_API_BASE={platform['url']}\nCACHE_MAX_MB=much\n")
    systemctl("start", SOCKET)
    systemctl("start", SERVICE)
    facts["socket stopped"] = until(
        lambda: shown("ActiveState", unit=SOCKET)["ActiveState"] == "inactive"
    )
    facts["asked in vain"] = [status("/health")[0] for _ in range(3)]
    facts["misconfigured with socket"] = shown(
        "ActiveState", "ExecMainStatus", "NRestarts"
    )
    ENVIRONMENT.write_text(f"EXTERNAL_API_BASE={platform['url']}\nWORKERS=2\n")
    systemctl("start", SOCKET, SERVICE)
    facts["back"] = [
        shown("ActiveState", unit=SOCKET)["ActiveState"],
        shown("ActiveState")["ActiveState"],
        healthy(),
    ]
    systemctl("stop", SOCKET, SERVICE)

    # A wrong setting is told once, not tried again.
    ENVIRONMENT.write_text("PORT=many\n")
    systemctl("start", SERVICE)
    facts["misconfigured"] = shown("ActiveState", "ExecMainStatus", "NRestarts")


def failed(path: str, body: object, headers: Mapping[str, str] = {}) -> str:
    """The id of a request that was answered with an error."""
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(f"{URL}/api/{path}", data, dict(headers))
    asked.add_header("Content-Type", "application/json")
    try:
        urllib.request.urlopen(asked, timeout=60)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return str(refusal.headers["X-Request-Id"])
    raise AssertionError(f"{path} was answered")


def runbook(platform: dict[str, Any]) -> None:
    """A service with a past, and what each command of the runbooks finds there."""
    systemctl("start", "systemd-journald.socket", "systemd-journald.service")
    Path("/etc/systemd/system/aims-server.service.d/test.conf").unlink()
    systemctl("daemon-reload")
    ENVIRONMENT.write_text(f"EXTERNAL_API_BASE={platform['url']}\nWORKERS=2\n")
    systemctl("start", SOCKET, SERVICE)
    victim = workers()[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(workers()) == 2 and victim not in workers())
    turn(platform, {"faults": {"*": {"kind": "status", "status": 500}}})
    login = platform["credentials"][1]
    request_id = failed("login", login)
    turn(platform, {"clear": "*"})
    refused = (
        failed("login", {**login, "password": "wrong"}),
        failed("attendance", None, {"Authorization": "Bearer ended"}),
    )
    journal = ("journalctl", "-u", "aims-server", "-o", "cat")
    until(
        lambda: all(
            one.encode()
            in subprocess.run(journal, stdout=subprocess.PIPE, check=False).stdout
            for one in (request_id, *refused)
        )
    )

    text = " ".join(" ".join(path.read_text().split()) for path in RUNBOOKS)
    commands = dict.fromkeys(COMMAND.findall(text))
    beginning = BEGINNING.findall(RUNBOOKS[0].read_text())[0]
    found = {}
    for command in commands:
        if command.startswith(ELSEWHERE) or "--url" in command:
            continue
        script = command.replace("9f86d081884c7d65", request_id)
        if command.startswith("aims-server"):
            script = f"{beginning}\n{script}"
        done = subprocess.run(
            ["bash", "-c", script],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        found[command] = [done.returncode, done.stdout + done.stderr]
    facts["runbook"] = found
    facts["runbook's request"] = request_id

    # A crash loop, which takes the socket along, and the way out that is written there.
    loop = Path("/etc/systemd/system/aims-server.service.d/loop.conf")
    loop.write_text(
        "[Unit]\nStartLimitBurst=2\n[Service]\nRestartSec=0\n"
        "ExecStart=\nExecStart=/bin/false\n"
    )
    systemctl("daemon-reload")
    systemctl("restart", SERVICE)
    facts["crash loop"] = until(
        lambda: shown("ActiveState", unit=SOCKET)["ActiveState"] == "failed"
    )
    loop.unlink()
    systemctl("daemon-reload")
    for command in commands:
        if command.startswith(("systemctl reset-failed", "systemctl start")):
            systemctl(*command.split()[1:])
    facts["after a crash loop"] = [
        shown("ActiveState", unit=SOCKET)["ActiveState"],
        shown("ActiveState")["ActiveState"],
        healthy(),
    ]


def turn(platform: dict[str, Any], wishes: dict[str, Any]) -> None:
    """Turn the platform's knobs."""
    request = urllib.request.Request(
        platform["control"], json.dumps(wishes).encode(), method="PUT"
    )
    urllib.request.urlopen(request, timeout=60).close()


with subprocess.Popen(
    [sys.executable, "-m", "aims_server.demo", "--students", "20"],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
) as simulated:
    assert simulated.stdout is not None
    try:
        simulation = json.loads(simulated.stdout.readline())
        visit(simulation)
        runbook(simulation)
    finally:
        simulated.kill()
        Path(sys.argv[1]).write_text(json.dumps(facts))
