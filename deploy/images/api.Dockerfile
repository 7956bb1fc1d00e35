# The HTTP API: docker build --file deploy/images/api.Dockerfile .
FROM python:3.11.14-slim-bookworm AS build
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
WORKDIR /app
COPY constraints.txt pyproject.toml ./
COPY serving/api-requirements.txt serving/
RUN pip install --constraint constraints.txt setuptools \
    && pip install --constraint constraints.txt --requirement serving/api-requirements.txt
COPY feature_repo feature_repo
COPY monitoring monitoring
COPY serving serving
RUN pip install --constraint constraints.txt --no-build-isolation --no-deps --editable .

FROM python:3.11.14-slim-bookworm
RUN useradd --uid 10001 --home-dir /tmp --no-create-home rentals
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
ENV PATH=/opt/venv/bin:$PATH RENTALS_HOME=/rentals PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 10001:10001
EXPOSE 8080
# Alive, not ready: where no predictor answers, the API still does.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
CMD ["uvicorn", "serving.api:create_app", "--factory", "--no-access-log", "--no-proxy-headers", "--host", "0.0.0.0", "--port", "8080"]
