"""Boundary to MCP: the server, its tools and questions to the person. Knows no HTTP and no Kubernetes."""
