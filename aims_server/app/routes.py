"""The table of what answers where."""

from typing import Any

from tornado.web import Application, RequestHandler

from ..config import Settings
from ..handlers import (
    BaseHandler,
    HandlerContext,
    api,
    demo,
    docs,
    ops,
    progress,
    status,
    web_page,
)
from ..pages import DEMO, LOGIN, PAGES
from ..upstream import Transport

__all__ = ["make_application"]


def make_application(
    context: HandlerContext, settings: Settings, transport: Transport
) -> Application:
    """The route table."""
    common = {"context": context}
    guarded = {**common, "token": settings.metrics_token or ""}
    routes: list[tuple[str, type[BaseHandler], dict[str, Any]]] = [
        (LOGIN.path, api.LoginHandler, common),
        *(
            (page.path, progress.page_handler(page), {**common, "page": page})
            for page in PAGES
        ),
        (r"/health(?:/ready)?", ops.HealthHandler, common),
        (r"/health/live", ops.LiveHandler, common),
        (r"/metrics", ops.MetricsHandler, guarded),
        (r"/openapi\.json", docs.OpenApiHandler, common),
        (r"/docs(?:/[a-z.-]*)?", docs.DocsHandler, common),
    ]
    if settings.status_page:
        routes.append((r"/status(?:/[a-z.]+)?", status.StatusHandler, guarded))
    if settings.web_page:
        demoed = {"demo": settings.demo is not None}
        routes.append((r"/(?:page/.*)?", web_page.WebPageHandler, common | demoed))
    else:
        routes.append((r"/", web_page.DocsRedirect, common))
    if settings.demo is not None:
        corner = {
            "students": settings.demo.students,
            "control_url": settings.demo.control_url,
            "transport": transport,
        }
        routes.append((DEMO.path, demo.DemoHandler, {**common, **corner}))
    return Application(
        routes,
        default_handler_class=BaseHandler,
        default_handler_args=common,
        log_function=_handlers_log,
    )


def _handlers_log(_: RequestHandler) -> None:
    """Every handler writes its own access line in ``on_finish``."""
