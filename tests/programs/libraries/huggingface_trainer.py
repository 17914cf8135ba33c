"""Hugging Face's Trainer on a tiny BERT with random weights; nothing is downloaded."""

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)


class Sentences(torch.utils.data.Dataset):
    def __len__(self):
        return 12 * 2 * 4

    def __getitem__(self, index):
        words = torch.arange(index, index + 8) % 50
        return {
            "input_ids": words,
            "attention_mask": torch.ones_like(words),
            "labels": torch.tensor(index % 2),
        }


class Printed(TrainerCallback):
    def on_log(self, arguments, state, control, logs=None, **_):
        if "loss" in logs:
            rank = arguments.process_index
            print(
                f"rank {rank} of {arguments.world_size} step {state.global_step} loss {logs['loss']!r}\n",
                end="",
                flush=True,
            )


set_seed(1)
config = BertConfig(
    vocab_size=50,
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=32,
    num_labels=2,
)
arguments = TrainingArguments(
    output_dir="trained",
    per_device_train_batch_size=4,
    num_train_epochs=1,
    logging_steps=1,
    save_strategy="no",
    report_to="none",
    use_cpu=True,
    disable_tqdm=True,
)
Trainer(
    BertForSequenceClassification(config), arguments, train_dataset=Sentences(), callbacks=[Printed()]
).train()
if torch.distributed.is_initialized():
    torch.distributed.destroy_process_group()
