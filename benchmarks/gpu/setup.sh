# Sourced at the start of every command on the device, from the repository's root: . benchmarks/gpu/setup.sh
# Installs the carried wheels, and joins the parts of the data that this and earlier calls carried.
export OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1 GPU_HOME="${GPU_HOME:-$HOME/pointadapt-gpu}" OUT="${OUT:-$PWD/gpu-out}"
export PYTHONPATH="${GPU_SITE:-$GPU_HOME/site}:$PWD/src"
mkdir -p "$GPU_HOME" "$OUT"
if [ ! -e "${GPU_SITE:-$GPU_HOME/site}/tyro" ] && ls .whl/*.whl >/dev/null 2>&1; then
    python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade \
        --target "${GPU_SITE:-$GPU_HOME/site}" .whl/*.whl || exit 1
fi
for part in .gpu/*/*.part*; do
    if [ -e "$part" ]; then cp "$part" "$GPU_HOME/"; fi
done
for first in "$GPU_HOME"/*.part1of*; do
    if [ -e "$first" ]; then
        bundle="${first%.part1of*}" count="${first##*.part1of}"
        if [ ! -e "$bundle.done" ] && [ "$(ls "$bundle".part* | wc -l)" = "$count" ]; then
            cat "$bundle".part* | tar xz -C "$GPU_HOME" && touch "$bundle.done"
        fi
    fi
done
ls "$GPU_HOME" "$GPU_HOME/data" 2>/dev/null | tr '\n' ' '; echo
