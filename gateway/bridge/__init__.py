"""Boundary between a client that can only start a command and gateways that want a fresh token with each request."""
