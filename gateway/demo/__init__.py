"""Embedded clusters: a stand-in for Kubernetes API servers, to try the gateway out with and to test it on.

Only the commands and the tests import it; it shares no code with what it is there to test.
"""

from gateway.demo.server import EmbeddedCluster

__all__ = ["EmbeddedCluster"]
