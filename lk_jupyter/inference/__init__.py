"""Models that answer: catalogue, chats, embeddings, batches, and dedicated deployments."""
