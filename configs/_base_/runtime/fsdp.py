"""Weights, gradients and optimizer state shared out over the GPUs (PyTorch's FSDP, ZeRO-3).

For any config: ``_base_ = ['../mmdet/CONFIG.py', '../_base_/runtime/fsdp.py']``. Half precision is
``optim_wrapper = dict(type='AmpOptimWrapper', dtype='bfloat16')``, activation checkpointing
``model = dict(backbone=dict(with_cp=True))``.
"""

runner_type = 'FlexibleRunner'
strategy = dict(
    type='FSDPStrategy',
    model_wrapper=dict(
        type='MMFullyShardedDataParallel',
        auto_wrap_policy=dict(type='mmhrnet.training.launch.wrap_modules'),
        use_orig_params=True,
    ),
    state_dict_cfg=dict(  # checkpoints like those of one process
        state_dict_type='FULL_STATE_DICT',
        state_dict_config=dict(type='FullStateDictConfig', offload_to_cpu=True),
        optim_state_dict_config=dict(type='FullOptimStateDictConfig', offload_to_cpu=True),
    ),
)
