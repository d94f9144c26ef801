# One image for every process of ours: services, gateways, worker and the `leaderboard` command.
# What a container runs is its command; without one it is a service replica.

FROM python:3.13-slim AS build
ARG UV_VERSION=0.13.9
ENV UV_PROJECT_ENVIRONMENT=/opt/leaderboard \
    UV_PYTHON_DOWNLOADS=never \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1
RUN pip install --no-cache-dir --disable-pip-version-check "uv==${UV_VERSION}"
WORKDIR /src

# The dependencies first and alone: a change of our code does not install them again.
COPY pyproject.toml uv.lock ./
COPY leaderboard_client/pyproject.toml leaderboard_client/
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --locked --no-dev --extra otel --no-install-workspace

COPY LICENSE CHANGELOG.md ./
COPY docs/package.md docs/
COPY nginx/templates nginx/templates
COPY leaderboard_core leaderboard_core
COPY leaderboard_service leaderboard_service
COPY api_gateway api_gateway
COPY worker_service worker_service
COPY leaderboard_client leaderboard_client
COPY leaderboard_cli leaderboard_cli
# Refreshed: uv takes a wheel that it built before for this one while pyproject.toml is the same, whatever else changed.
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --locked --no-dev --extra otel --no-editable --refresh-package leaderboard-system \
    --refresh-package leaderboard-client


FROM python:3.13-slim
# The folders for the signing secret and for backups belong to the user, so that new volumes mounted there do too.
RUN groupadd --system --gid 10001 leaderboard \
    && useradd --system --uid 10001 --gid leaderboard --no-create-home --shell /usr/sbin/nologin leaderboard \
    && install --directory --owner=leaderboard --group=leaderboard --mode=0700 /var/lib/leaderboard /backups
COPY --from=build /opt/leaderboard /opt/leaderboard
ENV PATH=/opt/leaderboard/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 10001:10001
CMD ["python", "-m", "leaderboard_service"]
