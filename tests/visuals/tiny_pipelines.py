"""Tiny pipelines of diffusers, saved as a hub repository would hold them: random weights, but the autoencoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

SIZE = (32, 48)  # width and height of what they draw
WORDS = ("poster", "title", "space", "quiet", "garden", "comedy", "submarine", "neon", "pirates", "dark")
ADAPTER = "ip-adapter_sd15.safetensors"
CROSS, IMAGE = 16, 8  # sizes of what the U-Net attends to, and of picture vectors


def tokenizer() -> Any:
    """Letters, and some words of their own, as CLIP splits them."""
    from transformers import CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz0123456789,.!-"
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{one}</w>" for one in letters)]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts = [parts[0] + parts[1], *parts[2:]]
            tokens.append(parts[0])
    vocabulary = {token: place for place, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=list(dict.fromkeys(merges)), model_max_length=77)


def text_encoder(kind: str = "CLIPTextModel") -> Any:
    import transformers

    config = transformers.CLIPTextConfig(
        vocab_size=200, hidden_size=CROSS, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=77, projection_dim=CROSS, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    return getattr(transformers, kind)(config)


def autoencoder() -> Any:
    """The mean colours of 2 x 2 pixels, and back; its weights are set by hand, so that it need not learn."""
    from diffusers import AutoencoderTiny

    vae = AutoencoderTiny(
        encoder_block_out_channels=(4, 4), decoder_block_out_channels=(4, 4), num_encoder_blocks=(0, 0),
        num_decoder_blocks=(0, 0), latent_channels=4, scaling_factor=2.0,
    )  # fmt: skip
    for parameter in vae.parameters():
        torch.nn.init.zeros_(parameter)
    kept = torch.eye(4)
    convolutions = [one for one in vae.modules() if isinstance(one, torch.nn.Conv2d)]
    for one, factor in zip(convolutions, (1.0, 0.25, 2.0, 1.0, 1.0, 0.5), strict=True):
        rows, columns = one.weight.shape[:2]
        where = slice(1, 3) if one.stride == (2, 2) else slice(1, 2)
        one.weight.data[:, :, where, where] = factor * kept[:rows, :columns, None, None]
    torch.nn.init.constant_(convolutions[2].bias, -1.0)  # numbers from 0 to 1 become -1 to 1, and back
    torch.nn.init.constant_(convolutions[3].bias, 1.0)
    return vae.eval()


def unet(**options: Any) -> Any:
    from diffusers import UNet2DConditionModel

    sizes = {
        "block_out_channels": (8, 16), "layers_per_block": 1, "sample_size": 16, "norm_num_groups": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "attention_head_dim": 2,
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "cross_attention_dim": CROSS,
    }  # fmt: skip
    return UNet2DConditionModel(**{**sizes, **options})


def scheduler() -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
        set_alpha_to_one=False, steps_offset=1,
    )  # fmt: skip


def stable_diffusion(folder: Path, **parts: Any) -> Path:
    from diffusers import StableDiffusionPipeline

    torch.manual_seed(0)
    given = {"safety_checker": None, "feature_extractor": None, "image_encoder": None, **parts}
    StableDiffusionPipeline(
        vae=autoencoder(), text_encoder=text_encoder(), tokenizer=tokenizer(), unet=unet(), scheduler=scheduler(),
        requires_safety_checker=False, **given,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def stable_diffusion_xl(folder: Path) -> Path:
    from diffusers import StableDiffusionXLPipeline

    torch.manual_seed(0)
    both = unet(
        cross_attention_dim=2 * CROSS, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + CROSS, transformer_layers_per_block=1,
    )  # fmt: skip
    StableDiffusionXLPipeline(
        vae=autoencoder(), text_encoder=text_encoder(), text_encoder_2=text_encoder("CLIPTextModelWithProjection"),
        tokenizer=tokenizer(), tokenizer_2=tokenizer(), unet=both, scheduler=scheduler(), add_watermarker=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def pixart(folder: Path) -> Path:
    """A diffusion transformer that reads T5; diffusers has nothing that begins from a picture for it."""
    from diffusers import PixArtAlphaPipeline, PixArtTransformer2DModel
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(0)
    reader = T5EncoderModel(T5Config(vocab_size=200, d_model=CROSS, d_kv=8, d_ff=32, num_layers=1, num_heads=2))
    flow = PixArtTransformer2DModel(
        sample_size=32, num_layers=1, patch_size=2, attention_head_dim=8, num_attention_heads=2, caption_channels=CROSS,
        in_channels=4, out_channels=8, cross_attention_dim=16, norm_num_groups=4, use_additional_conditions=False,
    )  # fmt: skip
    words = tokenizer()
    PixArtAlphaPipeline(
        tokenizer=words, text_encoder=reader, vae=autoencoder(), transformer=flow, scheduler=scheduler()
    ).save_pretrained(folder)  # fmt: skip
    return folder


def ip_adapter(folder: Path) -> Path:
    """Weights and image encoder where h94/IP-Adapter has them."""
    from safetensors.torch import save_file
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(1)
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8,
        projection_dim=IMAGE,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(folder / "models" / "image_encoder")
    weights = {
        "image_proj.proj.weight": torch.randn(4 * CROSS, IMAGE), "image_proj.proj.bias": torch.zeros(4 * CROSS),
        "image_proj.norm.weight": torch.ones(CROSS), "image_proj.norm.bias": torch.zeros(CROSS),
    }  # fmt: skip
    sizes = [one.shape[0] for name, one in unet().state_dict().items() if name.endswith("attn2.to_k.weight")]
    for place, size in enumerate(sizes):
        for part in ("to_k_ip", "to_v_ip"):
            weights[f"ip_adapter.{2 * place + 1}.{part}.weight"] = torch.randn(size, CROSS)
    save_file(weights, folder / "models" / ADAPTER)
    return folder
