"""Values as messages: trees of nodes, and leaves of bytes."""
