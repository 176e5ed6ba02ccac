"""Types of all that crosses the API: one model for each thing, for those who write it and those who read it."""
