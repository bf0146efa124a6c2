import math
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn

from ssm_balance import Order
from ssm_zoo import LRU, ImplementationNotAvailableError
from ssm_zoo.reduction import Activations, At, Limits, Uniform
from ssm_zoo.reduction.callbacks._base import base_class

FREE = Limits(output_error=math.inf, condition=math.inf)
DATA = torch.randn(24, 20, 2, generator=torch.Generator().manual_seed(0))


def quietly(work, *arguments, **options):
    """Call what warns about loggers and loader workers that a test has no use for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return work(*arguments, **options)


def test_nothing_is_imported_before_it_is_asked_for():
    code = "import sys, ssm_zoo.reduction.callbacks; assert not {'lightning', 'transformers'} & set(sys.modules)"

    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_package_that_is_missing_is_named():
    with pytest.raises(ImplementationNotAvailableError, match="pip install no_such_package"):
        base_class("Callback", "no_such_package.part")


# --- Lightning -------------------------------------------------------------------------------------------------------


def lightning_run(folder, epochs, *, resume=None, callbacks=(), **options):
    """Return the module, the callback and the trainer after so many epochs of three steps."""
    lightning = pytest.importorskip("lightning.pytorch")
    from ssm_zoo.reduction.callbacks import LightningReducer

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.encoder, self.layer, self.head = nn.Linear(2, 4), LRU(4, 12), nn.Linear(4, 1)

        def training_step(self, batch, index):
            return (self.head(torch.tanh(self.layer(self.encoder(batch)))) - 1).square().mean()

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters(), lr=1e-2)

    torch.manual_seed(0)
    reducer = LightningReducer(At(2, 5), Order(8), limits=FREE)
    trainer = quietly(
        lightning.Trainer,
        default_root_dir=folder,
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=[reducer, *callbacks],
        **options,
    )
    module = Module()
    quietly(trainer.fit, module, torch.utils.data.DataLoader(DATA, batch_size=8), ckpt_path=resume)
    return module, reducer, trainer


def test_lightning_goes_on_from_a_reduced_checkpoint_with_a_module_of_full_size(tmp_path):
    module, reducer, trainer = lightning_run(tmp_path, 1)
    quietly(trainer.save_checkpoint, tmp_path / "one.ckpt")
    whole, whole_reducer, _ = lightning_run(tmp_path, 3)

    resumed, resumed_reducer, _ = lightning_run(tmp_path, 3, resume=tmp_path / "one.ckpt")

    assert [cut.status for cut in reducer.reducer.ledger] == ["cut"]
    assert module.layer.d_state == resumed.layer.d_state <= 4
    assert resumed_reducer.reducer.steps == whole_reducer.reducer.steps == 9
    assert [cut.step for cut in resumed_reducer.reducer.ledger] == [2, 5]
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)


def test_lightning_counts_steps_of_the_optimiser(tmp_path):
    _, reducer, trainer = lightning_run(tmp_path, 2, accumulate_grad_batches=3)

    assert reducer.reducer.steps == trainer.global_step == 2
    assert [cut.status for cut in reducer.reducer.ledger] == ["cut"]


def test_lightning_averages_follow(tmp_path):
    pytest.importorskip("lightning.pytorch")
    try:
        from lightning.pytorch.callbacks import EMAWeightAveraging
    except ImportError:
        pytest.skip("this Lightning has no weight averaging")
    average = EMAWeightAveraging(decay=0.9, update_every_n_steps=1, update_starting_at_step=0)

    module, reducer, _ = lightning_run(tmp_path, 2, callbacks=[average])

    assert [cut.status for cut in reducer.reducer.ledger] == ["cut", "kept"]
    assert module.layer.d_state <= 4
    assert all(parameter.isfinite().all() for parameter in module.parameters())


# --- Transformers ----------------------------------------------------------------------------------------------------


def transformers_run(folder, steps, *, resume=None):
    """Return the model and the callback after so many steps."""
    pytest.importorskip("accelerate")
    transformers = pytest.importorskip("transformers")
    from ssm_zoo.reduction.callbacks import TransformersReducer

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "state_size": 8, "num_hidden_layers": 2, "vocab_size": 32}
    model = transformers.MambaForCausalLM(transformers.MambaConfig(**sizes))
    reducer = TransformersReducer(At(2, 5), Uniform(Order(4)), balance=Activations(), limits=FREE)
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=4,
        max_steps=steps,
        lr_scheduler_type="constant",
        save_steps=3,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        logging_strategy="no",
    )
    tokens = torch.randint(32, (24, 12), generator=torch.Generator().manual_seed(1))
    data = [{"input_ids": row, "labels": row} for row in tokens]
    trainer = quietly(transformers.Trainer, model, arguments, train_dataset=data, callbacks=[reducer])
    quietly(trainer.train, resume_from_checkpoint=resume)
    return model, reducer


def test_the_trainer_goes_on_from_a_reduced_checkpoint_with_a_model_of_full_size(tmp_path):
    transformers_run(tmp_path / "run", 3)
    whole, _ = transformers_run(tmp_path / "whole", 6)

    resumed, reducer = transformers_run(tmp_path / "run", 6, resume=str(tmp_path / "run" / "checkpoint-3"))

    assert [cut.step for cut in reducer.reducer.ledger] == [2, 2, 5, 5]
    assert resumed.config.state_size == 4
    assert resumed.backbone.layers[0].mixer.ssm_state_size == 4
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)


def test_what_the_trainer_saved_loads_again(tmp_path):
    transformers = pytest.importorskip("transformers")
    model, _ = transformers_run(tmp_path, 3)
    tokens = torch.arange(10)[None]

    loaded = quietly(transformers.AutoModelForCausalLM.from_pretrained, tmp_path / "checkpoint-3")

    torch.testing.assert_close(loaded.eval()(tokens).logits, model.eval()(tokens).logits)
