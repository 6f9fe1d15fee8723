#!/bin/sh
# Fetches ONNX Runtime's CUDA provider and NVIDIA's libraries for it from the Python package index: cuda-libraries.sh VARIANT REQUIREMENTS FOLDER
# FOLDER/providers goes beside ONNX Runtime, FOLDER/lib onto the loader's path. Any VARIANT but cuda leaves both empty.
set -eu
variant=$1 requirements=$2 folder=$3
mkdir -p "$folder/providers" "$folder/lib"
[ "$variant" = cuda ] || exit 0

apt-get -qq update
apt-get -qq install -y --no-install-recommends python3-pip > /dev/null
# Unpacked, not installed: no Python is in the image, and the packages' own dependencies (numpy, protobuf) are not wanted.
pip download --quiet --no-deps --only-binary=:all: --dest "$folder/wheels" -r "$requirements"
mkdir "$folder/unpacked"
for wheel in "$folder"/wheels/*.whl; do
  python3 -m zipfile -e "$wheel" "$folder/unpacked"
  rm "$wheel"
done
for name in cuda shared; do
  mv "$folder/unpacked/onnxruntime/capi/libonnxruntime_providers_$name.so" "$folder/providers/"
done
# Without what ONNX Runtime never opens: a second compiler, and the interfaces of BLAS and FFTW.
find "$folder/unpacked/nvidia" -name '*.so*' ! -name '*.alt.so*' ! -name 'libnvblas*' ! -name 'libcufftw*' \
  -exec mv {} "$folder/lib/" \;
rm -r "$folder/wheels" "$folder/unpacked"
