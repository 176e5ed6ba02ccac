"""Records of active versions."""
