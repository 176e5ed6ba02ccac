"""What judges read of both arms, and what they said."""
