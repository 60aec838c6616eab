# %%
import numpy as np
from IPython.display import clear_output

board = np.zeros((6, 6), dtype=int)
board[1, 2] = board[2, 3] = board[3, 1:4] = 1
# %%
def step(board):
    near = sum(np.roll(board, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0))
    board[:] = (near == 3) | ((board == 1) & (near == 2))
# %%
def show(board):
    print("\n".join("".join(".#"[cell] for cell in row) for row in board))
# %%
step(board)
show(board)
# %%
for generation in range(3):
    step(board)
    clear_output(wait=True)
    print("generation", generation)
    show(board)
# %%
int(board.sum())
# %%
history = [board.copy()]
step(board)
(history[0] != board).sum()
