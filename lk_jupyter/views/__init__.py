"""What a value looks like, once: for cells, widgets, files and answers of the server extension."""
