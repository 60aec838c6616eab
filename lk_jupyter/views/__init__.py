"""Views of values, shared by cells, widgets, files and answers of the server extension."""
