"""How magics are found, read and helped."""
