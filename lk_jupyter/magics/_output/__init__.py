"""What a running cell shows, and how."""
