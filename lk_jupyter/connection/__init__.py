"""A server, a key, and what hangs on them: client, bucket, machines."""
