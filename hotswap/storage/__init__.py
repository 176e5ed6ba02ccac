"""Files in S3, and files on the disk."""
