"""The content of each kind of object, and how the peer's object gets the same content."""
