# The service as an image: the libraries of requirements-service.lock, checked by hash, and the sources; no compiler, no
# installer of ours, no root.
ARG PYTHON_IMAGE=python:3.11.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS packages
COPY requirements-service.lock ./
# Wheels only, since building one would run code from outside of the lock. The libraries' own tests are a fifth of them.
RUN python -m pip install --no-cache-dir --disable-pip-version-check --no-compile --require-hashes \
      --only-binary :all: --root-user-action ignore --target /packages -r requirements-service.lock && \
    find /packages -type d -name tests -prune -exec rm -rf {} +

FROM ${PYTHON_IMAGE}
COPY --from=packages /packages /packages
WORKDIR /app
COPY LICENSE local.yaml ./
COPY policies policies
COPY rates rates
COPY models models
COPY fraud fraud
# Nothing is written into the image's folders, so that it runs on a read-only root.
ENV PYTHONPATH=/packages:/app PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp
USER 10001:10001
ENTRYPOINT ["python", "-m", "fraud"]
CMD ["--help"]
