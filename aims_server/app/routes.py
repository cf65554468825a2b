"""The route table: which handler answers which path."""

from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher
from tornado.web import Application, RequestHandler

from ..config import Settings
from ..handlers import (
    BaseHandler,
    HandlerContext,
    api,
    demo,
    docs,
    health,
    ops,
    progress,
    status,
    web_page,
)
from ..pages import DEMO, LOGIN, METRICS, OPENAPI, PAGES, WEB_PAGE
from ..upstream import Transport

__all__ = ["make_application"]


def make_application(
    context: HandlerContext, settings: Settings, transport: Transport
) -> Application:
    """The route table."""
    common = {"context": context}
    guarded = {**common, "token": settings.metrics_token or ""}
    routes: list[tuple[Matcher | str, type[BaseHandler], dict[str, Any]]] = [
        (_Path(LOGIN.path), api.LoginHandler, common),
        *(
            (_Path(page.path), progress.page_handler(page), {**common, "page": page})
            for page in PAGES
        ),
        (_Path(*health.READY_ONLY), ops.HealthHandler, common),
        (_Path(METRICS.path), ops.MetricsHandler, guarded),
        (_Path(OPENAPI.path), docs.OpenApiHandler, common),
        (r"/docs(?:/[a-z.-]*)?", docs.DocsHandler, common),
    ]
    if settings.status_page:
        routes.append((r"/status(?:/[a-z.]+)?", status.StatusHandler, guarded))
    if settings.web_page:
        demoed = {"demo": settings.demo is not None}
        routes.append((r"/(?:page/.*)?", web_page.WebPageHandler, common | demoed))
    else:
        routes.append((_Path(WEB_PAGE.path), web_page.DocsRedirect, common))
    if settings.demo is not None:
        controlled = {
            "students": settings.demo.students,
            "control_url": settings.demo.control_url,
            "transport": transport,
        }
        routes.append((_Path(DEMO.path), demo.DemoHandler, {**common, **controlled}))
    return Application(
        routes,
        default_handler_class=BaseHandler,
        default_handler_args=common,
        log_function=_handlers_log,
    )


class _Path(Matcher):
    """Matches these paths. Compiling a regular expression each would take 1 ms."""

    def __init__(self, *paths: str) -> None:
        self._paths = paths

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """An empty dict (no arguments for the handler), or None for another path."""
        return {} if request.path in self._paths else None


def _handlers_log(_: RequestHandler) -> None:
    """Every handler writes its own access line in ``on_finish``."""
