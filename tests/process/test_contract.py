"""Schemathesis against the running service: every answer is one the document knows."""

import json
import subprocess
import sys
import urllib.request
from urllib.parse import urlencode

import pytest

from ..waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.process

CASES = "12"  # for each endpoint and phase: well under a minute in all


def test_every_answer_is_documented(start, platform):
    """There is no 5xx; each status, header and body is as openapi.yaml has it."""
    platform.turn(faults={"*": {"delay": 0.0}})
    service = start(
        EXTERNAL_API_BASE=platform.url,
        WORKERS="1",
        WEB_PAGE="true",
        STATUS_PAGE="true",
        RATE_LIMIT_PER_MINUTE="1000000",
        RATE_LIMIT_PER_ADDRESS_PER_MINUTE="1000000",
        LOGIN_LIMIT_PER_MINUTE="1000000",
        LOGIN_FAILURES_PER_ADDRESS_PER_MINUTE="1000000",
    ).wait_until_serving()
    login = urlencode(platform.credentials[0]).encode()
    url = f"{service.url}/api/login"
    with urllib.request.urlopen(url, login, PATIENCE_SECONDS) as answer:
        token = json.load(answer)["token"]
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run"),
            f"{service.url}/openapi.json",
            *("--header", f"Authorization: Bearer {token}"),
            *("--max-examples", CASES),
            *("--seed", "2"),
            "--no-color",
        ],
        cwd=service.directory,
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE_SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-6000:]
