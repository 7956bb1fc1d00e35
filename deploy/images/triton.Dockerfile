# A predictor without Seldon: docker run --volume "$PWD/.rentals/models/v1:/models:ro" IMAGE. On a cluster the
# SeldonDeployment takes NVIDIA's image as it is; a test holds the two together.
FROM nvcr.io/nvidia/tritonserver:24.10-py3
ENV ORT_DISABLE_TELEMETRY=1
# NVIDIA's own user for the server, triton-server.
USER 1000:1000
VOLUME /models
EXPOSE 8000 8001 8002
HEALTHCHECK --interval=5s --timeout=2s --start-period=90s \
    CMD ["curl", "--fail", "--silent", "http://127.0.0.1:8000/v2/health/ready"]
CMD ["tritonserver", "--model-repository=/models", "--exit-on-error=false", "--strict-readiness=true", "--disable-auto-complete-config", "--exit-timeout-secs=1", "--log-verbose=0"]
