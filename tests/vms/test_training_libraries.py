"""Trainings with libraries whose VM is reclaimed: the lines of the guide page continue from the last checkpoint.

The libraries are those of the environment of the cookbook, which the first test creates in minutes.
"""

import json
import re
from pathlib import Path

import cookbook
import pytest
from vms.on_vm import active_keys, facts_of, living, start, text_of, until

from lk_jupyter.vms.checkpoints import log_size, read_checkpoint

pytest.importorskip("asyncssh")

PAGE = Path(__file__).parents[2] / "notebooks" / "how-to" / "hours.ipynb"

#: Steps of a training, steps until a checkpoint, and the step after which the first VM is reclaimed.
STEPS, EVERY, HOLD = 40, 8, 27

BASE = f"""
import sys; sys.path.append(TORCH)
import os, time
from pathlib import Path
os.environ.update(HF_HUB_OFFLINE="1", KERAS_BACKEND="torch")
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader

torch.manual_seed(7); torch.set_num_threads(1)
steps, holds = 0, HOLDS and not any(Path(os.environ["LK_CHECKPOINTS"]).iterdir())

def count_step(*_):
    global steps
    steps += 1
    print("step", steps, flush=True)
    while holds and steps == {HOLD}:
        time.sleep(0.05)

register_optimizer_step_post_hook(count_step)
"""

TRANSFORMERS = """
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments
model = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_positions=16, n_embd=16, n_layer=1, n_head=2))
dataset = [{"input_ids": row, "labels": row} for row in torch.randint(0, 32, (64, 8))]
"""

LIGHTNING = """
import lightning
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    def training_step(self, batch, _):
        return self.layers(batch).square().mean()
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())

model = Model()
loader = DataLoader(torch.randn(64, 8), batch_size=8)
"""

KERAS = """
import keras
from torch.utils.data import TensorDataset

class Adam(keras.optimizers.Adam):
    def apply(self, *args, **options):
        super().apply(*args, **options)
        count_step()

keras.utils.set_random_seed(7)
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, "tanh"), keras.layers.Dense(1)])
model.compile(Adam(), "mse")
loader = DataLoader(TensorDataset(torch.randn(64, 8), torch.randn(64, 1)), batch_size=8)
"""

PYTORCH = """
import lk_jupyter
model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Dropout(0.2), torch.nn.Linear(16, 1))
optimizer = torch.optim.Adam(model.parameters())
loader = DataLoader(torch.randn(64, 8), batch_size=8, shuffle=True)
"""

#: Code before the lines of the page. The order is the order of the page.
BEFORE = {"transformers": TRANSFORMERS, "lightning": LIGHTNING, "keras": KERAS, "pytorch": PYTORCH}

AFTER = """
import hashlib
has_arrays = hasattr(model, "get_weights")  # Keras
weights = model.get_weights() if has_arrays else [each.detach().numpy() for each in model.parameters()]
print("weights", steps, hashlib.sha256(b"".join(each.tobytes() for each in weights)).hexdigest())
"""


def page_blocks():
    """Return the lines of the page for each library, as a diff."""
    text = "\n\n".join("".join(cell["source"]) for cell in json.loads(PAGE.read_text("utf-8"))["cells"])
    blocks = re.findall(r"```diff\n(.*?)```", text, re.DOTALL)
    return dict(zip(BEFORE, [block.splitlines() for block in blocks], strict=True))


def one_side(lines, sign):
    return "\n".join(line[2:] for line in lines if line[0] in {" ", sign})


@pytest.mark.parametrize("library", BEFORE)
def test_a_recipe_of_the_page_adds_or_changes_at_most_three_lines(library):
    assert 1 <= sum(line.startswith("+") for line in page_blocks()[library]) <= 3


@pytest.mark.nightly
@pytest.mark.timeout(1500)
@pytest.mark.xdist_group("cookbook")
@pytest.mark.parametrize("library", BEFORE)
def test_a_reclaimed_training_continues_from_its_checkpoint_and_ends_with_bit_equal_weights(session, vms, library):
    lines, before = page_blocks()[library], BASE + BEFORE[library]
    before = before.replace("TORCH", repr(str(cookbook.site_packages())))
    usual = start(session, before.replace("HOLDS", "False") + one_side(lines, "-") + AFTER)
    expected = text_of(usual.follow()).splitlines()[-1].split()
    assert expected[:2] == ["weights", str(STEPS)]

    changed = one_side(lines, "+").replace("optimizer=optimizer)", "optimizer=optimizer, every=0)")
    run, text = start(session, before.replace("HOLDS", "True") + changed + AFTER, retries=1, spot=True), ""
    for event in run.follow():
        text += getattr(event, "content", "")
        if f"step {HOLD}\n" in text and not facts_of(run).reasons:
            wait_for_checkpoint(session, run, text)
            vms.client.vms.delete(facts_of(run).active_id)
            until(lambda: run.status and facts_of(run).reasons)
    last = run.log_path.read_text().splitlines()[-1].split()
    assert (run.status, last[2]) == ("completed", expected[2])
    assert int(last[1]) <= STEPS - HOLD + HOLD % EVERY
    assert (living(vms), active_keys(vms)) == ([], [])


def wait_for_checkpoint(session, run, text):
    """Wait until the checkpoint of the last epoch is stored; a checkpoint has the log until the checkpoint."""

    def is_stored():
        listing = read_checkpoint(session.storage, facts_of(run).token)
        return f"step {HOLD - HOLD % EVERY}\n".encode() in text.encode()[: log_size(listing)]

    until(is_stored)
