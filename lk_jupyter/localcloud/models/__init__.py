"""Models, deployments and batches: what answers chats and embeddings."""
