"""Objects: the S3 server, and a bucket for each organization."""
