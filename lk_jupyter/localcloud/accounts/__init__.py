"""Users, organizations, their keys and sessions."""
