# syntax=docker/dockerfile:1
# The service alone, as a user without a name, on a root file system it never writes
# to. Build: docker build -t aims-server .     Run: see compose.yml.

# A release pins this by digest too; a tag may be moved.
ARG PYTHON=python:3.12-slim-bookworm

# --- Wheels: pip, compilers and the sources stay behind in this stage ------------
FROM ${PYTHON} AS wheels
WORKDIR /src
COPY . .
# Binary wheels for everything but ourselves: pycurl comes with its own libcurl, of a
# version that has seen our tests, and nothing has to be compiled here.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip wheel --disable-pip-version-check --prefer-binary --wheel-dir /wheels '.[store]'

# --- The image -------------------------------------------------------------------
FROM ${PYTHON}

# From the wheels and from nowhere else. pip is not needed after that, and what is not
# there cannot be misused.
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    pip install --no-index --no-cache-dir --disable-pip-version-check \
        --root-user-action=ignore --find-links=/wheels 'aims_server[store]' \
    && pip uninstall --yes --quiet --root-user-action=ignore pip

# In a container loopback is nobody's address; who may reach the port is decided where
# it is published.
ENV HOST=0.0.0.0 \
    PORT=3001 \
    # Nothing is written beside the code: the root is read-only.
    PYTHONDONTWRITEBYTECODE=1 \
    # A log line is out when it is written, also if the next thing is a kill.
    PYTHONUNBUFFERED=1

# A number, since Kubernetes' runAsNonRoot cannot judge a name.
USER 10001:10001
WORKDIR /tmp
EXPOSE 3001

# 503 while draining counts as unhealthy, as it should. urllib instead of curl: the
# slim image has none. No proxy: http_proxy may be set for the way to the platform.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['PORT'] + '/health', timeout=2)"]

# TERM drains. Stop with more patience than DRAIN_DELAY_SECONDS +
# SHUTDOWN_GRACE_SECONDS: docker's own 10 s are too few (stop_grace_period).
STOPSIGNAL SIGTERM

# Exec form: the parent is process 1 and gets the signals itself. It reaps its workers.
ENTRYPOINT ["aims-server"]
