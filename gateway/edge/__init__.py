"""Boundary to HTTP callers: one Bearer header, checked before MCP sees anything of the request."""
