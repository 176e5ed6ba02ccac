"""What is on record of active versions."""
