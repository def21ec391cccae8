"""What other projects call our keys, and the nearest of ours to a word that is none. Needs none of the packages."""

import difflib

# Our keys by the words of PyTorch's and MindSpore's scripts, timm, Lightning, lightly, solo-learn, mmselfsup, DeepMind.
_KEYS = {
    ("base_lr", "lr"): "learning_rate base_learning_rate blr max_lr peak_lr",
    ("min_lr",): "eta_min final_lr end_lr min_learning_rate",
    ("weight_decay",): "wd decay l2 weight_decay_rate",
    ("batch_size",): "bs b batch train_batch_size per_device_batch_size batch_size_per_device samples_per_gpu",
    ("effective_batch",): "global_batch_size total_batch_size",
    ("num_parallel_workers",): "workers num_workers n_workers j loader_workers workers_per_gpu",
    ("ckpt_save_dir",): "output_dir output out o save_dir work_dir checkpoint_dir ckpt_dir log_dir exp_dir save_path",
    ("amp_level", "amp_dtype"): "precision amp fp16 bf16 half use_amp mixed_precision dtype",
    ("model",): "arch a backbone network net encoder model_name",
    ("epoch_size",): "epochs num_epochs max_epochs n_epochs total_epochs train_epochs pretrain_epochs",
    ("device_target",): "device cpu gpu npu cuda ascend accelerator platform",
    ("data_dir",): "data data_path data_root dataroot root dataset_dir dataset_path train_dir path folder input",
    ("image_resize",): "image_size img_size input_size resolution crop_size imgsz size",
    ("base_tau",): "tau ema ema_decay ema_momentum base_momentum target_momentum moving_average_decay base_target_ema",
    ("warmup_epochs",): "warmup warmup_epoch warm_up num_warmup_epochs",
    ("gradient_accumulation_steps",): "accum accum_iter accumulate accumulate_grad_batches update_freq grad_accum",
    ("opt",): "optimizer optim",
    ("scheduler",): "lr_scheduler sched schedule lr_schedule",
    ("ckpt_path", "pretrained_from"): "pretrained weights checkpoint ckpt load_from init pretrained_weights finetune",
    ("resume",): "resume_from resume_path auto_resume",
    ("projector_hidden_size",): "proj_hidden_dim projector_hidden_dim hidden_dim hidden_size projection_hidden_size",
    ("projection_size",): "proj_dim out_dim proj_output_dim projection_dim embedding_dim",
    ("predictor_hidden_size",): "pred_hidden_dim predictor_hidden_dim",
    ("log_interval",): "print_freq log_freq log_every log_every_n_steps",
    ("ckpt_save_interval",): "save_freq save_every checkpoint_interval save_interval",
    ("keep_checkpoint_max",): "max_keep_ckpts save_top_k keep_last",
    ("dataset_download",): "download",
    ("train_split",): "split",
    ("num_samples",): "subset max_samples limit",
    ("sync_bn",): "syncbn sync_batchnorm sync_batch_norm",
    ("use_nesterov",): "nesterov",
    ("trust_coefficient",): "eta trust_coef lars_eta",
    ("seed",): "random_seed random_state manual_seed",
    ("distribute",): "distributed ddp gpus devices num_gpus world_size nproc_per_node",
    ("knn_k",): "k nb_knn n_neighbors",
    ("knn_temperature",): "temperature",
}
_KEYS_OF = {word: keys for keys, words in _KEYS.items() for word in words.split()}
# Our choices by the words of others.
_CHOICES_OF = {
    "npu": ("Ascend",),
    "cuda": ("GPU",),
    "imagefolder": ("imagenet", "folder"),
    "cosine": ("cosine_decay",),
    "step": ("multi_step_decay",),
    "multistep": ("multi_step_decay",),
    "adam": ("adamw",),
    "fp16": ("float16", "O2"),
    "bf16": ("bfloat16",),
    "fp32": ("O0",),
}


def nearest(word, keys, prefix=""):
    """The end of a message about an unknown key: the ones that it may have been meant for.

    Args:
        word (str): What was given in the place of a key.
        keys (collection[str]): The keys that there are.
        prefix (str): What a key is written with: `--` of a flag.
    """
    word = word.lower().replace("-", "_")
    meant = [key for key in _KEYS_OF.get(word, ()) if key in keys]
    if meant:
        return f"; here it is {' or '.join(prefix + key for key in meant)}"
    near = difflib.get_close_matches(word, keys, n=1, cutoff=0.5)
    return f"; nearest: {prefix}{near[0]}" if near else "; --help lists them all"


def nearest_choice(word, choices):
    """The end of a message about a value that is no choice: the ones that are meant, or nothing."""
    word = word.lower()
    meant = [str(choice) for choice in choices if str(choice).lower() == word or choice in _CHOICES_OF.get(word, ())]
    return f"; write {' or '.join(meant)}" if meant else ""
