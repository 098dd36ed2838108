# The service alone: no torch, no training code, not root.
#   docker build -t ganymede .                          runs on a CPU (and on a GPU whose CUDA libraries are mounted)
#   docker build -t ganymede --build-arg EXTRAS=gpu .   brings CUDA and cuDNN
#   docker run -p 127.0.0.1:8000:8000 -e GANYMEDE_WITHOUT_KEYS=published-on-127.0.0.1 ganymede
# It listens on every address of the container, and so asks for a file of keys (docs/operations.md) or for these words.
# The tests pass on 3.11 to 3.14; newer ones are no faster here and hold more memory (benchmarks/README.md, "Versions of Python").
ARG PYTHON_VERSION=3.12

FROM python:${PYTHON_VERSION}-slim AS dependencies
ARG EXTRAS=""
WORKDIR /build
# Two builds of one commit on one base image hold the same files, byte for byte: what is compiled states no time.
ENV PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
RUN python -m venv /venv
# Only what pip needs to resolve the dependencies: editing code does not rebuild this layer.
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY service/__init__.py service/__init__.py
RUN /venv/bin/pip install -c constraints.txt ".${EXTRAS:+[$EXTRAS]}" \
    && /venv/bin/pip uninstall --yes ganymede-gan \
    && find /venv -name '*.pyc' -delete \
    && /venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /venv

FROM python:${PYTHON_VERSION}-slim
# When the user's password was last changed, which is kept in days: the second of the first day but one.
ARG SOURCE_DATE_EPOCH=86400
RUN useradd --system --uid 10001 --no-create-home ganymede
WORKDIR /app
COPY --from=dependencies /venv /venv
COPY service/ service/
# Nothing is compiled while the service runs as a user who may not write here.
RUN python -m compileall -q --invalidation-mode unchecked-hash service
COPY models/ models/
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ORT_DISABLE_TELEMETRY=1 \
    GANYMEDE_HOST=0.0.0.0 \
    GANYMEDE_MODELS_DIR=/app/models
USER ganymede
EXPOSE 8000
# `/readyz` may take 5 s, until its device has drawn a sample. Healthy means ready: every configured package is golden-checked and warm.
HEALTHCHECK --interval=10s --timeout=7s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://localhost:{os.environ.get('GANYMEDE_PORT') or '8000'}/readyz\", timeout=6)"]
CMD ["python", "-m", "service"]
