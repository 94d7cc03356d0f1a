# Serves one policy bundle over HTTP; docs/how-to/serve.md shows a request.
#   docker build --build-arg BUNDLE=data/policy/seed-0 -t policy .
#   docker run --rm -p 8080:8080 policy
FROM python:3.12-slim
WORKDIR /app
# --build-arg TORCH_INDEX=URL of an index with builds for CPUs alone: a tenth of the size
ARG TORCH_INDEX=
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "torch>=2.6,<2.14"
RUN pip install --no-cache-dir "mlflow>=3.13,<4,!=3.18.0" "numpy>=2" "einops>=0.8" "pydantic>=2.10,<3" "safetensors>=0.4"
COPY pipeline pipeline
ARG BUNDLE=data/policy/seed-0
COPY ${BUNDLE} bundle
ENV PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 MLFLOW_DISABLE_TELEMETRY=true
RUN python -c "from pathlib import Path; from pipeline.serving.mlflow_logging import save_model; save_model(Path('bundle'), Path('model'))" \
    && useradd policy
USER policy
EXPOSE 8080
HEALTHCHECK CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://localhost:8080/ping')"]
CMD ["mlflow", "models", "serve", "--model-uri", "model", "--env-manager", "local", "--host", "0.0.0.0", "--port", "8080"]
