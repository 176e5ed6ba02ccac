"""What crosses the API, one model for each thing, whoever writes or reads it."""
