"""What leaves towards an agent: credentials masked, and nothing in it that a reader could not see."""
