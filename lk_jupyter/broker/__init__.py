"""A process that serves the cloud's API with the organization's key, and limits what each child key may spend."""
