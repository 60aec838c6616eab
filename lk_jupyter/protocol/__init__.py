"""The protocol between the kernel and a run: frames, parts, keys of metadata and of the bucket."""
