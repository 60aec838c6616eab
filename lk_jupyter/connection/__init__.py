"""A server, a key, and the objects that use both: client, bucket, machines."""
