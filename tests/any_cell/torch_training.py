# %%
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(1)
# %%
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, x):
        return self.layers(x).squeeze(-1)
# %%
net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
criterion = nn.MSELoss()
# %%
inputs = torch.randn(64, 2)
targets = inputs.sum(dim=1)
loader = DataLoader(TensorDataset(inputs, targets), batch_size=16)
# %%
losses = []
for epoch in range(5):
    for batch, wanted in loader:
        optimizer.zero_grad()
        loss = criterion(net(batch), wanted)
        loss.backward()
        optimizer.step()
    losses.append(round(loss.item(), 3))
losses
# %%
net
# %%
sum(p.numel() for p in net.parameters())
# %%
optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["params"][0] is next(net.parameters())
# %%
state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
net.load_state_dict(state)
# %%
net.eval()
net.training
