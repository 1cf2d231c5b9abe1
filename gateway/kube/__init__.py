"""Boundary to one API server's wire: paths, requests, answers and what a Status means."""
