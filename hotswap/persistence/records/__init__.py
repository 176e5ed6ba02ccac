"""Records of inference, their outcomes, and the figures that both add up to."""
