"""What each kind of object contains, and how another object gets the same."""
