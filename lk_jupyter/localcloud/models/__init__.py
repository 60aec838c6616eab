"""Models, deployments and batches, which answer chats and embeddings."""
