"""Boundary to clusters with the operator's own credential, which only commands on a person's machine use."""
