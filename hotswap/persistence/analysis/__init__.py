"""Records of both arms that judges read, and the judges' verdicts."""
