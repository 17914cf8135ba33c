"""The shape of PyTorch's imagenet script: folders of pictures, here made up, and a ResNet."""

import torch
import torch.distributed as dist
import torchvision
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler


def main():
    dist.init_process_group("gloo")
    torch.manual_seed(1)
    model = DistributedDataParallel(torchvision.models.resnet18(num_classes=10))
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1)
    pictures = torchvision.datasets.FakeData(5 * 2 * 4, (3, 32, 32), 10, torchvision.transforms.ToTensor())
    sampler = DistributedSampler(pictures)
    loader = DataLoader(pictures, batch_size=4, num_workers=2, sampler=sampler, persistent_workers=True)
    for epoch in range(2):
        sampler.set_epoch(epoch)
        model.train()
        for step, (images, target) in enumerate(loader):
            loss = torch.nn.functional.cross_entropy(model(images), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            print(
                f"rank {dist.get_rank()} epoch {epoch} step {step} loss {loss.item()!r}\n", end="", flush=True
            )
        model.eval()
        with torch.no_grad():
            right = torch.stack(
                [(model.module(images).argmax(1) == target).sum() for images, target in loader]
            ).sum()
        dist.all_reduce(right)
        print(f"rank {dist.get_rank()} epoch {epoch} right {right.item()}\n", end="", flush=True)
        schedule.step()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
