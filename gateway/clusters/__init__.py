"""Boundary around the clusters the operator listed: who they are, how they are trusted, and their warm clients."""
