"""Boundary of what the operator allows: pure rules over the attributes of a request."""
