"""The catalogue of worlds that `diagnose` is held to: what is broken in each, or that nothing is."""
