#!/usr/bin/env bash
# BYOL from nothing, in minutes on two CPU cores: makes .venv, installs requirements.txt, trains ResNet-18 without
# labels, compares it with the untrained network and with raw pixels, and ends with a page to look at.
#   bash scripts/demo.sh               scikit-learn's handwritten digits: nothing to download
#   bash scripts/demo.sh fashion       Fashion-MNIST's product photographs, some 15 minutes; the data are a package of
#                                      Debian and Ubuntu: apt-get install dataset-fashion-mnist
# Further arguments go to train.py: bash scripts/demo.sh digits --seed 1
# Every demo writes to a folder of its own: ckpt/digits, the next one ckpt/digits-2. Nothing is removed.
set -euo pipefail
cd "$(dirname "$0")/.."
data=digits
case "${1:-}" in
digits | fashion)
    data=$1
    shift
    ;;
-* | "") ;;
*)
    echo "$1: no such demo; there are digits and fashion" >&2
    exit 1
    ;;
esac
if [ "$data" = digits ]; then
    recipe=configs/byol/byol_resnet18_digits_cpu.yaml
    finetune=configs/finetune/finetune_digits_cpu.yaml
    labels=5
    folder=ckpt/digits
    scoring=()
else
    recipe=configs/byol/byol_resnet18_fashion_mnist_cpu.yaml
    finetune=configs/finetune/finetune_fashion_mnist_cpu.yaml
    labels=10
    folder=ckpt/fashion_mnist
    scoring=(--num_samples 10000)
    if [ ! -d /usr/share/datasets/fashion-mnist ]; then
        echo "Fashion-MNIST is not in /usr/share/datasets/fashion-mnist; on Debian and Ubuntu:" >&2
        echo "    sudo apt-get install dataset-fashion-mnist" >&2
        exit 1
    fi
fi
. scripts/venv.sh
use_venv requirements.txt
number=1 first=$folder
while [ -e "$folder" ]; do
    number=$((number + 1))
    folder=$first-$number
done
SECONDS=0
echo "== training: python train.py --config $recipe --ckpt_save_dir $folder $*"
python train.py --config "$recipe" --ckpt_save_dir "$folder" "$@"
trained=$SECONDS
echo "== comparing: python scripts/compare.py $folder ${scoring[*]}"
python scripts/compare.py "$folder" "${scoring[@]}"
checkpoint=$(ls -t "$folder"/*_backbone.ckpt | head -n 1)
echo
echo "== done: trained in $trained s, compared in $((SECONDS - trained)) s. Open $folder/report.html in a browser"
echo "== next, in this folder, after  . .venv/bin/activate"
echo "   a map of the features, and every image's neighbours:"
echo "      python scripts/map.py $folder"
echo "   a classifier from $labels labels a class, the whole network fine-tuned:"
echo "      python train.py --config $finetune --pretrained_from $checkpoint --labels_per_class $labels"
echo "   your own images, any folder, no labels needed:"
echo "      python train.py --model resnet18 --dataset folder --data_dir YOUR_FOLDER --image_resize 96 --ckpt_save_dir ckpt/mine"
