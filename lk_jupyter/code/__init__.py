"""Analysis of the code of a cell. Nothing is executed or sent here."""
