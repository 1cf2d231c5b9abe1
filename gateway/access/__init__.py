"""Boundary between tools and clusters: the caller's one door, judged, bounded and recorded at each request."""
