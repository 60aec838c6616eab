"""Pages in a browser, where the real cloud has pages of its own."""
