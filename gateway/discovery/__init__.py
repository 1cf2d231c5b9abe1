"""Boundary between a cluster's API documents and what an agent may name: the catalog, kept warm, and its look-ups."""
