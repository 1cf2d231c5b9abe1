"""One MCP endpoint to many Kubernetes clusters; this package's boundary is the process that serves it."""

__version__ = "0.1.0"
