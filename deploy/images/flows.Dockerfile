# The flows, each step a container of its own: docker build --file deploy/images/flows.Dockerfile .
FROM python:3.11.14-slim-bookworm AS build
# Where pip finds the CPU build of PyTorch; without it the default build comes, for GPUs, with CUDA.
ARG PIP_EXTRA_INDEX_URL=""
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
WORKDIR /app
COPY constraints.txt pyproject.toml ./
# The packages alone, in a layer that a change of the code leaves as it is.
RUN pip install --constraint constraints.txt setuptools \
    && pip install --constraint constraints.txt --no-build-isolation .
COPY feature_repo feature_repo
COPY models models
COPY monitoring monitoring
COPY serving serving
COPY flows flows
RUN pip install --constraint constraints.txt --no-build-isolation --no-deps --editable .

FROM python:3.11.14-slim-bookworm
RUN useradd --uid 10001 --home-dir /tmp --no-create-home rentals
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
ENV PATH=/opt/venv/bin:$PATH RENTALS_HOME=/rentals PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 10001:10001
# A flow is well when it ends with 0.
HEALTHCHECK NONE
CMD ["python", "-m", "flows", "--help"]
