"""The operator's page: guarded, strict, and off unless it is asked for."""

import base64
import json
import re
from html.parser import HTMLParser

import pytest

METRICS_TOKEN = "metrics-token-of-a-test"


def basic(password: str) -> dict[str, str]:
    """The header that a browser sends."""
    pair = base64.b64encode(f"operator:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


@pytest.mark.parametrize("path", ["/status", "/status/status.js", "/status/"])
@pytest.mark.gen_test
async def test_it_is_not_there_unless_it_is_on(front, path):
    """404 like any other path that does not exist."""
    assert (await front.ask(path)).code == 404


@pytest.mark.settings(
    STATUS_PAGE="true",
    METRICS_TOKEN=METRICS_TOKEN,
    RATE_LIMIT_PER_ADDRESS_PER_MINUTE="3",
)
class TestGuessing:
    """An address that may ask the API three times a minute."""

    @pytest.fixture(name="ask")
    def _ask(self, front):
        async def ask(path, token):
            """The status of an answer to somebody with this token."""
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return (await front.ask(path, headers=headers)).code

        return ask

    @pytest.mark.gen_test
    async def test_guesses_are_bounded(self, ask):
        """Past ten a minute, at both pages together, even the right one is refused."""
        paths = ("/metrics", "/status") * 5
        assert [await ask(path, "x") for path in paths] == [401] * 10
        assert await ask("/metrics", METRICS_TOKEN) == 429
        assert await ask("/status", METRICS_TOKEN) == 429

    @pytest.mark.gen_test
    async def test_guesses_use_up_nothing_of_the_students(self, ask, token):
        """A campus shares one address with whoever guesses."""
        for _ in range(12):
            await ask("/metrics", "x")
        assert await ask("/api/quiz", token) == 200

    @pytest.mark.gen_test
    async def test_the_right_token_is_no_guess(self, ask):
        """A missing token is none either: browsers first send a request without."""
        for offered, status in (("", 401), (METRICS_TOKEN, 200)):
            assert [await ask("/status", offered) for _ in range(12)] == [status] * 12


@pytest.mark.settings(STATUS_PAGE="true", METRICS_TOKEN=METRICS_TOKEN)
class TestOn:
    """STATUS_PAGE, with a METRICS_TOKEN."""

    @pytest.mark.parametrize("path", ["/status", "/status/status.js"])
    @pytest.mark.gen_test
    async def test_it_asks_for_the_token(self, front, path):
        """A browser is told to ask for a password; wrong ones are refused."""
        wrong = ("Basic %%%", "Basic é", "Basic /w==", "Basic eDp5", "Bearer x")
        for authorization in ("", *wrong):
            headers = {"Authorization": authorization} if authorization else {}
            answer = await front.ask(path, headers=headers)
            assert answer.code == 401
            assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
        for headers in (
            basic(METRICS_TOKEN),
            {"Authorization": f"Bearer {METRICS_TOKEN}"},
        ):
            assert (await front.ask(path, headers=headers)).code == 200

    @pytest.mark.gen_test
    async def test_it_loads_its_own_files_and_no_others(self, front):
        """It names no other host, has nothing inline, and each file exists."""
        answer = await front.ask("/status", headers=basic(METRICS_TOKEN))
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["Cache-Control"] == "no-store"
        wanted = Links.of(answer.body.decode())
        assert wanted == ["status/status.css", "status/status.js"]
        for link in wanted:
            file = await front.ask(f"/{link}", headers=basic(METRICS_TOKEN))
            assert file.code == 200
            assert not re.search(rb"https?://(?!www.w3.org/2000/svg)", file.body)

    @pytest.mark.gen_test
    async def test_its_script_is_given_the_figures(self, front):
        """The page's script gets the figures of /metrics as JSON."""
        headers = {**basic(METRICS_TOKEN), "Accept": "application/json"}
        figures = json.loads((await front.ask("/status", headers=headers)).body)
        script = (await front.ask("/status/status.js", headers=headers)).code
        assert figures["upstream"]["endpoints"]["quizzes"]["breaker"] == "closed"
        assert script == 200

    @pytest.mark.gen_test
    async def test_other_names_are_not_there(self, front):
        """Other files of the package are 404."""
        for path in ("/status/", "/status/index.html", "/status/../docs.py"):
            answer = await front.ask(path, headers=basic(METRICS_TOKEN))
            assert answer.code == 404


class Links(HTMLParser):
    """What a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    @classmethod
    def of(cls, page: str) -> list[str]:
        """All of it but data."""
        parser = cls()
        parser.feed(page)
        return parser.found

    def handle_starttag(
        self, tag: str, attributes: list[tuple[str, str | None]]
    ) -> None:
        """Note what the element refers to."""
        for name, value in attributes:
            assert not name.startswith("on")
            if name in ("src", "href") and value != "data:,":
                self.found.append(value or "")
        assert tag != "style"
