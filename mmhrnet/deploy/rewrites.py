"""Which exact rewrites make the deploy form."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rewrites:
    """Switches of :func:`mmhrnet.deploy.optimize`; each leaves every output as it is but rounding.

    The defaults are those that are fastest on a CPU (docs/benchmarks.md measures each of them). On
    a GPU, only ``fused_kernels`` was measured (docs/gpu.md).

    Attributes:
        channels_last: Weights and activations in NHWC order, which kernels prefer.
        fold_norms: BatchNorm's scale and shift become the weight and bias of its convolution.
        fused_kernels: On a CPU in float32 or bfloat16, oneDNN adds, applies ReLU and writes in one
            pass, with weights packed for the size of the input. On a GPU (Ampere or newer), cuDNN
            adds the bias and the shortcut and applies ReLU in the kernel of the convolution.
            Elsewhere, with gradients, under autocast and under torch.compile, plain operations run.
        nested_upsampling: Nearest upsampling octave by octave, adding on the way, so that most
            additions happen on small maps.
        commute_upsampling: The 1x1 convolution of HRNetV2 and HRNetV2p before the upsampling and
            the concatenation, on each map at its own resolution: an eighth of the
            multiply-adds. Bilinear weights sum to 1, so that the two commute.
        banded_upsampling: Bilinear upsampling and its addition band by band of rows, each in
            cache, without whole upsampled maps in memory.
        progressive_pooling: Each pyramid level is pooled from the one before, not from the first.
        convolved_pooling: Average pooling as a convolution of each channel, since torch.export
            takes pooling of any size for sizes that it divides only.
    """

    channels_last: bool = True
    fold_norms: bool = True
    fused_kernels: bool = True
    nested_upsampling: bool = True
    commute_upsampling: bool = True
    banded_upsampling: bool = True
    progressive_pooling: bool = True
    convolved_pooling: bool = False


# Without what a compiler or another runtime does well itself.
PORTABLE = Rewrites(
    fused_kernels=False,
    nested_upsampling=False,
    banded_upsampling=False,
    convolved_pooling=True,
)
