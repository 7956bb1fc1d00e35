# The feedback component, in the environment of seldon-core: docker build --file deploy/images/feedback.Dockerfile .
FROM python:3.11.14-slim-bookworm AS build
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
WORKDIR /build
COPY serving/feedback-requirements.txt ./
RUN pip install --requirement feedback-requirements.txt

FROM python:3.11.14-slim-bookworm
RUN useradd --uid 10001 --home-dir /tmp --no-create-home rentals
COPY --from=build /opt/venv /opt/venv
COPY serving/__init__.py /app/serving/
COPY serving/feedback /app/serving/feedback
ENV PATH=/opt/venv/bin:$PATH RENTALS_HOME=/rentals PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 10001:10001
EXPOSE 9000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9000/health/ping', timeout=2)"]
CMD ["gunicorn", "--bind", "0.0.0.0:9000", "--worker-class", "gthread", "--threads", "8", "--graceful-timeout", "10", "serving.feedback.app:create_app()"]
