"""What runs the author's file, and the parts that support it there."""
