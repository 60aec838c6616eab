"""The state that a cell reads and changes: names and the objects behind them, as one stream of pickles."""
