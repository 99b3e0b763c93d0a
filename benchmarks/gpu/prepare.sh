#!/bin/sh
# At home, from the repository's root: sh benchmarks/gpu/prepare.sh [DATA]
# Downloads the wheels that the device lacks into .whl, and cuts the data (DATA: default
# data) into parts under .gpu that fit a call. Both are in .gitignore, and carried.
set -e
DATA="${1:-data}"
PYTHON="${PYTHON:-python3}"
LIMIT=67108864 # bytes of a call: the working tree and what is carried

mkdir -p .whl .gpu
# The device has torch, triton, numpy, h5py, accelerate, peft, transformers, safetensors, rich, pyyaml,
# matplotlib, scikit-learn, pytest, hypothesis. All of these four are pure Python.
"$PYTHON" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
    --platform any --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 \
    -d .whl tyro docstring-parser typeguard plyfile

[ -e "$DATA/modelnet40/train.npz" ] || { echo "no $DATA/modelnet40: wheels alone are ready"; exit 0; }
bundle() { # NAME FOLDER: cut FOLDER into two parts, each in a folder of its own, to be carried alone
    size="$(tar cz -C "$2" . | wc -c)"
    tar cz -C "$2" . | split -b "$((size / 2 + 1))" -d - "$2.half"
    for i in 0 1; do
        mkdir -p ".gpu/$1$((i + 1))"
        mv "$2.half0$i" ".gpu/$1$((i + 1))/$1.part$((i + 1))of2"
    done
}
work="$(mktemp -d)"
mkdir -p "$work/all/data/modelnet40" "$work/pre/pretrain/modelnet40"
cp "$DATA"/modelnet40/train.npz "$DATA"/modelnet40/test.npz "$work/all/data/modelnet40/"
[ ! -d "$DATA/sets" ] || cp -r "$DATA/sets" "$work/all/data/"
cp "$DATA"/modelnet40/train.npz "$work/pre/pretrain/modelnet40/"
cp -r "$DATA/shapedb" "$work/pre/pretrain/"
# Pre-training scores itself on 1,200 of the test clouds, so that its data fit two calls.
"$PYTHON" - "$DATA" "$work" <<'PY'
import sys, numpy as np
d = dict(np.load(f"{sys.argv[1]}/modelnet40/test.npz")); names = d.pop("class_names")
at = np.random.default_rng(0).permutation(len(d["label"]))[:1200]
np.savez_compressed(f"{sys.argv[2]}/pre/pretrain/modelnet40/test.npz", class_names=names, **{k: v[at] for k, v in d.items()})
PY
chmod -R u+w "$work"
bundle modelnet40- "$work/all"
bundle pretrain- "$work/pre"
rm -rf "$work"

tree="$(git ls-files -z --cached --others --exclude-standard | xargs -0 -r du -cb 2>/dev/null | tail -1 | cut -f1)"
wheels="$(du -sb .whl | cut -f1)"
echo "working tree $tree bytes, .whl $wheels bytes, a call takes $LIMIT; with one part each:"
for part in .gpu/*/; do
    total="$((tree + wheels + $(du -sb "$part" | cut -f1)))"
    [ "$total" -le "$LIMIT" ] && verdict=fits || verdict="TOO LARGE: take a smaller part"
    echo "  $part $total $verdict"
done
