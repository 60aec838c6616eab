"""Pages in a browser, which replace the pages of the real cloud."""
