"""Optimizer state and gradients shared out over the GPUs by DeepSpeed (ZeRO-2), in bfloat16.

For any config: ``_base_ = ['../mmdet/CONFIG.py', '../_base_/runtime/deepspeed.py']``, and
``optim_wrapper = dict(_delete_=True, type='DeepSpeedOptimWrapper', optimizer=dict(...))``: clipping
and accumulation are the strategy's.
"""

runner_type = 'FlexibleRunner'
strategy = dict(
    type='DeepSpeedStrategy',
    bf16=dict(enabled=True),
    inputs_to_half=['inputs'],
    zero_optimization=dict(stage=2, overlap_comm=True, contiguous_gradients=True),
    gradient_accumulation_steps=1,
)
