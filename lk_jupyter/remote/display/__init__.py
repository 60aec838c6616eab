"""What the code shows: figures, tables, widgets, bars and errors, as a notebook shows them."""
