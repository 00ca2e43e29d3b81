"""The coding side of a pipeline: pictures to files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypedDict, cast

import torch
from PIL import Image
from torch import Tensor
from typing_extensions import Unpack

from icm_core.bitstream.container import Container, Layer, LayerKind, write
from icm_core.bitstream.control_hash import control_hash
from icm_core.interfaces.codec import Codec
from icm_core.pictures import as_batch, as_bytes
from icm_core.pipeline.answers import Answers
from icm_core.pipeline.many import many
from icm_core.pipeline.parts import Parts, hashes, one_value
from icm_core.pipeline.search import Objective, searched_tasks
from icm_core.quality import Quality
from icm_core.tiles import Bytes, Map, large, whole
from icm_core.types import SideInfo

_ONE_SIZE = "pictures of one size"


class How(TypedDict, total=False):
    """How pictures are coded; see `Encoder.encode`."""

    enhancement: bool
    enhancement_quality: float | None
    control: bool
    encoder: str | None
    effort: int
    search_for: Sequence[str] | None


class Encoder(Parts):
    """Pictures to the contents of ``.icm`` files."""

    def analyse(self, image: Image.Image | Tensor, quality: float = 3.0, *, encoder: str | None = None) -> SideInfo:
        """The side information that a decoder would have of a picture, without making a file.

        Raises:
            InputError: as in `encode`.
        """
        step = self.quality(quality)
        with self._inference():
            x = self._pictures([image])
            return self._codec_with(encoder).encode_with_side(cast(Tensor, x), step)[1]

    def encode(
        self,
        image: Image.Image | Tensor,
        quality: float = 3.0,
        *,
        enhancement: bool = True,
        enhancement_quality: float | None = None,
        control: bool = False,
        encoder: str | None = None,
        effort: int = 0,
        search_for: Sequence[str] | None = None,
    ) -> bytes:
        """A picture as the content of an ``.icm`` file.

        Args:
            image: a PIL picture, or a tensor (3, H, W) or (1, 3, H, W), uint8 or floats in [0, 1].
            quality: from 1 (fewest bits) to the codec's highest, in steps of 1/16.
            enhancement: if False, or if the pipeline has no enhancement, the file has a base layer only.
            enhancement_quality: of the enhancement layer alone, so that the base layer's bytes and answers stay while
                the fine picture changes; None: ``quality``. Where it is another, the file is one byte longer.
            control: if True, each layer carries 4 bytes of a hash of what it decodes to, for `decode(verify=True)`.
                It says what the encoder coded.
            encoder: which of `Codec.encoders`; None: the usual one. Files of all of them decode alike.
            effort: steps of encoder-side search (`icm_core.pipeline.search`); 0 for none.
            search_for: names of the tasks that are searched for; by default all whose spec has a ``search``.

        Raises:
            InputError: the picture, a quality, the encoder, the effort or a task cannot be used.
        """
        (blob,) = self.encode_batch(
            [image],
            quality,
            enhancement=enhancement,
            enhancement_quality=enhancement_quality,
            control=control,
            encoder=encoder,
            effort=effort,
            search_for=search_for,
        )
        return blob

    def encode_batch(
        self,
        images: Sequence[Image.Image | Tensor],
        quality: float = 3.0,
        *,
        enhancement: bool = True,
        enhancement_quality: float | None = None,
        control: bool = False,
        encoder: str | None = None,
        effort: int = 0,
        search_for: Sequence[str] | None = None,
    ) -> list[bytes]:
        """Pictures of one size as the contents of ``.icm`` files, computed together; arguments as in `encode`.

        What float networks compute may differ in the last bits from what they compute of a picture alone, so a file
        need not be the same byte for byte. Each decodes by itself.

        Raises:
            InputError: as in `encode`, or the pictures have different sizes.
        """
        step = self.quality(quality)
        finer = self.enhancement_step(step, enhancement_quality, enhancement=enhancement)
        codec = self._codec_with(encoder)
        searched = searched_tasks(self, effort, search_for)
        with self._inference():
            x = self._pictures(images)  # a field only if the codec reads fields
            height, width = x.shape[-2:]
            fingerprint = self.enhancement_fingerprint if enhancement else None
            side: SideInfo | None = None
            if searched:
                payloads = self._searched(codec, whole(x), step, effort, searched)
                # What comes behind is made from the decoded side information, as a decoder has it.
                side = self.codec.decode(payloads, (height, width), step) if fingerprint or control else None
            elif fingerprint or control:
                payloads, side = codec.encode_with_side(cast(Tensor, x), step)
            else:
                payloads = codec.encode(cast(Tensor, x), step)
            layers = [
                [Layer(LayerKind.BASE, self.base_fingerprint, payload, hashed)]
                for payload, hashed in zip(payloads, hashes(side if control else None, len(payloads)), strict=True)
            ]
            if fingerprint and side is not None and self.enhancement is not None and self.over is not None:
                answers, reads_fields = Answers(self, side), self.enhancement.reads_fields
                coarse = answers.picture(self.over) if reads_fields else answers.of(self.over).output
                original = x if reads_fields else whole(x)
                payloads = self.enhancement.encode(cast(Tensor, original), cast(Tensor, coarse), side, finer or step)
                latent = self.enhancement.latent(payloads, side, finer or step) if control else None
                for number, payload in enumerate(payloads):
                    hashed = b"" if latent is None else control_hash([latent[number : number + 1]])
                    layers[number].append(Layer(LayerKind.ENHANCEMENT, fingerprint, payload, hashed, finer))
        return [write(Container(height, width, step, tuple(one), truncated=False)) for one in layers]

    def encode_many(
        self,
        pictures: Iterable[Image.Image | Tensor],
        quality: float = 3.0,
        *,
        batch: int = 1,
        lanes: int | None = None,
        **how: Unpack[How],
    ) -> Iterator[bytes]:
        """Pictures as the contents of ``.icm`` files, in their order, each as soon as it and those before it are done.

        While networks compute, the pictures that follow are read. Each is computed by one thread of PyTorch's, so that
        the files are the same whatever `lanes` is. PyTorch has one thread, and the pipeline is in eval mode, until the
        iterator is at its end or closed.

        Args:
            pictures: any iterable, such as a generator that opens files; read only a few pictures ahead.
            quality: as in `encode`.
            batch: the most pictures of one size that are computed together. What float networks compute may differ in
                the last bits then, and a file need not be the same byte for byte as that of a picture alone.
            lanes: threads that compute, each a picture of its own, for codecs that keep nothing between two pictures
                that threads could fight over. By default 1 on a CPU, where processes are better (`icm encode
                --workers`), and 2 on a GPU.
            how: as in `encode`.

        Raises:
            InputError: as in `encode`, when the picture's turn comes; or `batch` or `lanes` is less than 1.
        """

        def work(images: Sequence[Image.Image | Tensor]) -> list[bytes]:
            if len(images) == 1:
                return [self.encode(images[0], quality, **how)]
            return self.encode_batch(images, quality, **how)

        with self._resting():
            yield from many(pictures, work, _size_of, batch=batch, lanes=self._lanes(lanes))

    def _codec_with(self, encoder: str | None) -> Codec:
        return self.codec if encoder is None else self.codec.with_encoder(encoder)

    def _pictures(self, images: Sequence[Image.Image | Tensor]) -> Map:
        """Pictures where the networks are; large ones stay in bytes as long as nobody reads them."""
        if self.codec.reads_fields and all(size is not None and large(size) for size in map(_size_of, images)):
            pixels = [one for one in map(as_bytes, images) if one is not None]
            if len(pixels) == len(images):
                one_value([_size(one) for one in pixels], _ONE_SIZE)
                return Bytes(torch.cat(pixels) if len(pixels) > 1 else pixels[0], self.device)
        pictures = [as_batch(image) for image in images]
        one_value([_size(picture) for picture in pictures], _ONE_SIZE)
        return self._moved(pictures)

    def _moved(self, pictures: Sequence[Tensor]) -> Tensor:
        """Pictures as one tensor where the networks are."""
        x = torch.cat(list(pictures)) if len(pictures) > 1 else pictures[0]
        if self.device.type == "cuda" and x.device.type == "cpu":
            # From pinned memory the copy need not be waited for.
            return x.pin_memory().to(self.device, non_blocking=True)
        return x.to(self.device)

    def _searched(self, codec: Codec, x: Tensor, quality: Quality, effort: int, tasks: Sequence[str]) -> list[bytes]:
        # Outside of inference mode, whose tensors have no gradients; its kept casts of weights have none either.
        enabled = torch.is_autocast_enabled(self.device.type)
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=enabled, cache_enabled=False),
        ):
            x = x.clone(memory_format=torch.channels_last)
            return codec.search(x, quality, Objective(self, x, quality, tasks), effort)


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[-2], x.shape[-1]


def _size_of(image: Image.Image | Tensor) -> tuple[int, int] | None:
    """Height and width; None of what is no picture, which `as_batch` will refuse."""
    if isinstance(image, Image.Image):
        return image.height, image.width
    return _size(image) if isinstance(image, Tensor) and image.dim() >= 2 else None
