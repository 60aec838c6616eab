"""Models that answer: which there are, talks with them, vectors, batches, and deployments of one's own."""
