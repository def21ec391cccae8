#!/usr/bin/env bash
# BYOL from nothing, in minutes on two CPU cores: makes .venv, installs requirements.txt, trains ResNet-18 on
# scikit-learn's handwritten digits without their labels, and scores it beside the untrained network and raw pixels.
# Arguments go to train.py and validate.py: bash scripts/demo.sh --seed 1
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/venv.sh
use_venv requirements.txt
recipe=configs/byol/byol_resnet18_digits_cpu.yaml
folder=ckpt/digits
echo "== training: python train.py --config $recipe $*"
rm -rf "$folder"
SECONDS=0
python train.py --config "$recipe" --ckpt_save_dir "$folder" "$@"
checkpoint=$(ls -t "$folder"/*_backbone.ckpt | head -n 1)
echo "== scoring: python validate.py --config $recipe --ckpt_path $checkpoint --baselines True $*"
python validate.py --config "$recipe" --ckpt_path "$checkpoint" --baselines True --results "$folder/results.json" "$@"
python - "$folder/results.json" "$SECONDS" <<'PYTHON'
import json, sys

report = json.load(open(sys.argv[1]))
print(f"== done in {sys.argv[2]} s. kNN top-1 (k = 20) on {report['split']}; bank: {report['bank']}")
for what, name in (("trained", "BYOL, trained"), ("untrained", "same backbone, untrained"), ("pixels", "raw pixels")):
    print(f"   {name:<26}{report['scores'][what]['knn20_top1']:6.2f} %")
PYTHON
echo "== next, your own images (any folder, no labels needed):"
echo "   . .venv/bin/activate"
echo "   python train.py --model resnet18 --dataset folder --data_dir YOUR_FOLDER --image_resize 96 --ckpt_save_dir ckpt/mine"
