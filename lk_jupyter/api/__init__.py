"""The wire: one typed method for each operation of the API."""
