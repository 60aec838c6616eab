# %%
import torch

torch.manual_seed(0)
# %%
noise = torch.rand(2, 3)
noise
# %%
weight = torch.ones(3, requires_grad=True)
loss = (noise @ weight).sum()
loss.backward()
# %%
weight.grad
# %%
with torch.no_grad():
    weight -= 0.1 * weight.grad
weight
# %%
view = noise[0]
view.zero_()
noise.sum(dim=1)
# %%
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
noise.to(device).device.type
# %%
torch.set_printoptions(precision=2)
# %%
torch.tensor([1.23456])
# %%
torch.get_default_dtype(), noise.dtype, noise.shape
