"""What the kernel and a run agree on: frames, parts, keys of metadata and of the bucket."""
