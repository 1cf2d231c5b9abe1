"""Real Kubernetes clusters for tests: a control plane, and a node with containers (see README.md)."""
