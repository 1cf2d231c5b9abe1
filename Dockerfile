# The gateway as a container: locked and hashed packages, no compiler, no shell scripts, no root, no demo clusters.
# Settings are mounted at /etc/kube-mcp-gateway/gateway.yaml; other words after the image's name replace that choice.

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all:
WORKDIR /src
COPY requirements requirements
# What builds the package stays in this stage; what runs goes into /opt/gateway.
RUN pip install --require-hashes --requirement requirements/build.lock \
    && python -m venv --without-pip /opt/gateway \
    && pip --python /opt/gateway/bin/python install --require-hashes --requirement requirements/runtime.lock
COPY . .
RUN pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheels . \
    && pip --python /opt/gateway/bin/python install --no-deps --no-index /wheels/*.whl \
    && /opt/gateway/bin/python -m compileall -q /opt/gateway

FROM python:3.13-slim
LABEL org.opencontainers.image.title="kube-mcp-gateway" \
      org.opencontainers.image.licenses="Apache-2.0"
# Python's own pip is not needed to serve.
RUN pip uninstall --yes pip && useradd --uid 65532 --no-create-home --shell /usr/sbin/nologin gateway
COPY --from=build /opt/gateway /opt/gateway
ENV PATH=/opt/gateway/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
WORKDIR /
EXPOSE 8080 9464
# /healthz is on the admin listener, which is loopback's unless set otherwise.
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s CMD ["python", "-c", "\
import http.client, os; \
admin = http.client.HTTPConnection('127.0.0.1', os.environ.get('KUBE_MCP_GATEWAY_ADMIN__PORT', 9464), timeout=2); \
admin.request('GET', '/healthz'); \
raise SystemExit(admin.getresponse().status != 200)"]
ENTRYPOINT ["kube-mcp-gateway", "serve"]
CMD ["--config", "/etc/kube-mcp-gateway/gateway.yaml"]
