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
python validate.py --config "$recipe" --ckpt_path "$checkpoint" --baselines True --results "$folder/scores.jsonl" "$@"
python - "$folder/scores.jsonl" "$SECONDS" <<'PYTHON'
import json, sys

scores = [json.loads(line) for line in open(sys.argv[1])]
scores = {one["features"]: one for one in scores if one["score"] == "knn20_top1"}
data = scores["trained"]["data"]
print(f"== done in {sys.argv[2]} s. kNN top-1 (k = 20) on {data['queries']}; bank: {data['bank']}")
for what, name in (("trained", "BYOL, trained"), ("untrained", "same backbone, untrained"), ("pixels", "raw pixels")):
    print(f"   {name:<26}{scores[what]['value']:6.2f} %")
PYTHON
echo "== next, your own images (any folder, no labels needed):"
echo "   . .venv/bin/activate"
echo "   python train.py --model resnet18 --dataset folder --data_dir YOUR_FOLDER --image_resize 96 --ckpt_save_dir ckpt/mine"
